/**
 * How much a group speaks against its label: rollouts that agree with each other, and not with it. A policy that has learned
 * from thousands of labels is right more often than one of them that it contradicts with one voice.
 */
import type { GroupRecord, ResponseRecord, SampleRecord } from '@visurf/core/records';

type Corners = readonly number[];
type Said = Pick<ResponseRecord, 'text' | 'boxes' | 'points'>;
type Truth = Pick<SampleRecord, 'boxes' | 'points' | 'solution'>;

/** Intersection over union of two boxes. */
export function iou(a: Corners, b: Corners): number {
  const [ax0 = 0, ay0 = 0, ax1 = 0, ay1 = 0] = a;
  const [bx0 = 0, by0 = 0, bx1 = 0, by1 = 0] = b;
  const width = Math.max(0, Math.min(ax1, bx1) - Math.max(ax0, bx0));
  const height = Math.max(0, Math.min(ay1, by1) - Math.max(ay0, by0));
  const union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - width * height;
  return union > 0 ? (width * height) / union : 0;
}

/** Boxes matched greedily, the rest counts as 0; two empty lists agree. */
function boxesAlike(a: readonly Corners[], b: readonly Corners[]): number {
  const most = Math.max(a.length, b.length);
  if (most === 0) return 1;
  const pairs = a.flatMap((box, i) => b.map((other, j) => ({ i, j, value: iou(box, other) })));
  pairs.sort((one, other) => other.value - one.value);
  const [left, right] = [new Set<number>(), new Set<number>()];
  let sum = 0;
  for (const { i, j, value } of pairs) {
    if (left.has(i) || right.has(j)) continue;
    left.add(i);
    right.add(j);
    sum += value;
  }
  return sum / most;
}

/** 1 at the same place, 0 beyond a tenth of the reach of all points. */
function pointsAlike(a: readonly Corners[], b: readonly Corners[]): number {
  if (a.length !== b.length) return 0;
  const reach = Math.max(1, ...[...a, ...b].flat());
  const distances = a.map(([x = 0, y = 0], i) => Math.hypot(x - (b[i]?.[0] ?? 0), y - (b[i]?.[1] ?? 0)));
  return distances.reduce((sum, distance) => sum + Math.max(0, 1 - distance / (0.1 * reach)), 0) / (a.length || 1);
}

/** What an answer says, without thought and wrapping. */
export function answerOf(text: string): string {
  const answer = /<answer>([\s\S]*?)<\/answer>/.exec(text)?.[1] ?? text.slice(text.lastIndexOf('</think>') + 1);
  const boxed = /\\boxed\{([^{}]*)\}/.exec(answer)?.[1] ?? answer;
  return boxed.trim().toLowerCase();
}

const isShown = ({ boxes, points }: Pick<Said, 'boxes' | 'points'>): boolean => boxes.length + points.length > 0;

/** 0 to 1. */
export function alike(a: Said, b: Said): number {
  if (a.points.length + b.points.length > 0) return pointsAlike(a.points, b.points);
  if (isShown(a) || isShown(b)) return boxesAlike(a.boxes, b.boxes);
  return Number(answerOf(a.text) === answerOf(b.text));
}

/** 0 to 1; 0 where there is nothing to compare. */
export function suspicionOf({ rollouts, label, solution }: GroupRecord, truth: Truth | undefined): number {
  if (rollouts.length < 2) return 0;
  const shown = truth ?? label;
  const said: Said = { text: solution, boxes: shown?.boxes ?? [], points: shown?.points ?? [] };
  let [sum, pairs] = [0, 0];
  rollouts.forEach((one, i) => {
    for (const other of rollouts.slice(i + 1)) {
      sum += alike(one, other);
      pairs += 1;
    }
  });
  const against = rollouts.reduce((total, rollout) => total + 1 - alike(rollout, said), 0) / rollouts.length;
  return (sum / pairs) * against;
}
