/** Random groups of the grounding task: labels with several objects, and rollouts that are right, nearly right, wrong, malformed. */
import type { Scored, ScoredLabel } from '../label/group.ts';
import { makeScorer, scoreTerms, type Scorer, type ThinkingMark } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import type { TrueObject } from '../tasks/grounding/truth.ts';
import type { Box, Response, Rollout, Sample } from '../types.ts';
import { NO_PROMPT } from './groups.ts';

type Random = () => number;

export interface RandomGroup {
  readonly question: { readonly sample: Sample; readonly prompt: typeof NO_PROMPT };
  readonly scorer: Scorer;
  readonly rollouts: readonly Scored<Rollout>[];
  readonly label: ScoredLabel;
}

/** mulberry32, in [0, 1). */
export function randomOf(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const scorers = (['default', 'published'] as const).flatMap((reward) =>
  [true, false].flatMap((points) =>
    (['always', 'whenCorrect'] as const).flatMap((thinking: ThinkingMark) => {
      if (reward === 'published' && !points) return [];
      const task = grounding.create(grounding.parameters.parse({ reward, points }), []);
      return [{ reward, points, scorer: makeScorer(task, [], thinking) }];
    }),
  ),
);

/** A group with rewards of one kind, or of any. */
export function randomGroup(random: Random, kind?: 'default' | 'published'): RandomGroup {
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)]!;
  const { points, scorer } = pick(scorers.filter(({ reward }) => kind === undefined || reward === kind));
  const objects = Array.from({ length: Math.floor(random() * 7) }, () => object(random, points));
  const truth = { objects };
  const one = sample([]);
  const form = pick(scorer.task.forms);
  const score = <Said extends Response>(response: Said): Scored<Said> => {
    return { response, terms: scoreTerms(scorer, response, { sample: one, truth, frames: [SQUARE] }) };
  };
  // Groups differ in how good they are: in some everybody is nearly right, and nobody right.
  const [skill, thinks, isNearly] = [random(), random(), random() < 0.4];
  const said = (): readonly TrueObject[] => (isNearly ? nearly(random, objects) : spoiled(random, objects, skill));
  const rollouts = Array.from({ length: 1 + Math.floor(random() * 8) }, (): Scored<Rollout> => {
    const answer = random() < 0.05 ? 'none' : form.write({ objects: said() }, [SQUARE]);
    const text = random() < thinks ? `<think> so</think>${answer}` : answer;
    return score({ text, stop: random() < 0.05 ? 'length' : 'eos', tokens: [1], logProbs: [-1] });
  });
  const written = score({ text: form.write(truth, [SQUARE]), stop: 'eos', tokens: [1] } as const);
  const label = { place: 'member', form: form.name, ...written } as const;
  return { question: { sample: one, prompt: NO_PROMPT }, scorer, rollouts, label };
}

function object(random: Random, points: boolean): TrueObject {
  const [x, y] = [Math.floor(random() * 500), Math.floor(random() * 500)];
  const box: Box = [x, y, x + 60 + Math.floor(random() * 250), y + 60 + Math.floor(random() * 250)];
  return { box, point: points ? [x + 30, y + 30] : undefined };
}

/** The objects, one of them half right. */
function nearly(random: Random, objects: readonly TrueObject[]): readonly TrueObject[] {
  const place = Math.floor(random() * objects.length);
  return objects.map((each, i) => (i === place ? halfRight(random, each) : each));
}

/** The object with a box that is not exact, or a point elsewhere. */
function halfRight(random: Random, { box, point }: TrueObject): TrueObject {
  const [x0, y0, x1, y1] = box;
  return point && random() < 0.5 ? { box, point: [x0 + 55, y0 + 55] } : { box: [x0, y0, x1 + 45, y1], point };
}

/** Objects of which some are exact, some half right, some wrong, missing or made up. */
function spoiled(random: Random, objects: readonly TrueObject[], skill: number): TrueObject[] {
  const some = objects.flatMap((each): TrueObject[] => {
    if (random() < skill) return [each];
    const fate = random();
    if (fate < 0.5) return [halfRight(random, each)];
    return fate < 0.75 ? [{ box: [0, 0, 5, 5], point: each.point && [1, 1] }] : [];
  });
  return random() < 0.1 ? [...some, object(random, objects[0]?.point !== undefined)] : some;
}
