/** Whether a label survives being written in the model's coordinates, which are whole numbers. */
import type { Frame } from '../../types.ts';
import { matchMark, FULL_ACCURACY } from './accuracy.ts';
import { readPoint } from './answer.ts';
import { contains, iou, toModel } from './geometry.ts';
import type { Thresholds } from './parameters.ts';
import type { TrueObject } from './truth.ts';

/** What becomes of the first object that would not earn the full mark as it is written; undefined where all do. */
export function lostObject(objects: readonly TrueObject[], thresholds: Thresholds, frame: Frame): string | undefined {
  for (const [i, truth] of objects.entries()) {
    const reason = lossOf(truth, thresholds, frame);
    if (reason !== undefined) return objects.length === 1 ? reason : `object ${i + 1}: ${reason}`;
  }
  return undefined;
}

function lossOf(truth: TrueObject, thresholds: Thresholds, frame: Frame): string | undefined {
  const [x0, y0, x1, y1] = truth.box;
  const [start, end] = [toModel([x0, y0], frame), toModel([x1, y1], frame)];
  const said = `the box ${JSON.stringify(truth.box)} is written ${JSON.stringify([...start, ...end])}`;
  if (start[0] === end[0] || start[1] === end[1]) return `${said}, which has no area`;
  const box = [...readPoint(start, frame), ...readPoint(end, frame)] as const;
  const point = truth.point && readPoint(toModel(truth.point, frame), frame);
  const mark = matchMark({ box, point }, truth, thresholds, frame);
  if (mark >= FULL_ACCURACY) return undefined;
  if (point && !contains(box, point)) return `${said}, and its point lies outside`;
  return `${said}, whose IoU with it is ${iou(box, truth.box).toFixed(2)}: no full mark`;
}
