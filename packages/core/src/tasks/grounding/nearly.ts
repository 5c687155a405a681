/** The strongest answer that is not right: the label with one thing wrong. */
import type { Box, Frame, Terms } from '../../types.ts';
import type { SurfaceForm } from '../task.ts';
import { FULL_ACCURACY } from './accuracy.ts';
import { contains } from './geometry.ts';
import type { Thresholds } from './parameters.ts';
import type { GroundingTruth, TrueObject } from './truth.ts';

/**
 * A thought, then the label in a form with a point elsewhere, with a box that is not exact, or with one object too many or one
 * less: what of that is most accurate, but not as accurate as the label. Undefined where nothing is to be found.
 */
export function nearlyRightAnswer(
  truth: GroundingTruth,
  frame: Frame,
  form: SurfaceForm<GroundingTruth>,
  thresholds: Thresholds,
  termsOf: (text: string) => Terms,
): string | undefined {
  const write = (objects: readonly TrueObject[]): string => `<think> nearly</think>${form.write({ objects }, [frame])}`;
  const accuracyOf = (text: string): number => termsOf(text)['accuracy'] ?? 0;
  const full = accuracyOf(write(truth.objects));
  const least = smallestStep(truth.objects);
  let best = { text: undefined as string | undefined, accuracy: 0 };
  for (const objects of spoiled(truth.objects, frame, thresholds)) {
    const text = write(objects);
    const accuracy = accuracyOf(text);
    if (accuracy > best.accuracy && accuracy < full) best = { text, accuracy };
    if (best.accuracy >= full - least - 1e-9) break;
  }
  return best.text;
}

/** What a single mark of an object is worth: its point or the exactness of its box. Nothing comes nearer than that. */
const smallestStep = (objects: readonly TrueObject[]): number =>
  FULL_ACCURACY / (objects[0]?.point === undefined ? 2 : 3) / objects.length;

/** The objects with one thing wrong, likely the strongest first: of the largest one, where it is a box or a point. */
function* spoiled(
  objects: readonly TrueObject[],
  frame: Frame,
  thresholds: Thresholds,
): Generator<readonly TrueObject[]> {
  if (objects.length === 0) return;
  const size = ({ box: [x0, y0, x1, y1] }: TrueObject): number => (x1 - x0) * (y1 - y0);
  const largest = objects.reduce((most, object, place) => (size(object) > size(objects[most]!) ? place : most), 0);
  const { box, point } = objects[largest]!;
  if (point) for (const corner of cornersOf(box, frame)) yield objects.with(largest, { box, point: corner });
  for (const moved of inexact(box, frame, thresholds)) yield objects.with(largest, { box: moved, point });
  yield [...objects, { box: [0, 0, 1, 1], point: point && [0, 0] }];
  yield objects.slice(0, -1);
}

/** The box with one edge moved so far that it is not exact any more, inwards or outwards. */
function inexact(box: Box, { width, height }: Frame, { boxError }: Thresholds): Box[] {
  // The mean over four coordinates is to reach the threshold, after rounding to the model's.
  const far = 4 * boxError + 2;
  const limits = [width, height, width, height];
  return box.flatMap((value, i) =>
    [value - far, value + far].flatMap((moved) => {
      const next = box.with(i, moved) as unknown as Box;
      const inside = moved >= 0 && moved <= limits[i]! && next[0] < next[2] && next[1] < next[3];
      return inside ? [next] : [];
    }),
  );
}

/** Corners of the box, which may be too far from the true point, and those of the picture that lie outside of the box. */
function* cornersOf(box: Box, { width, height }: Frame): Generator<readonly [number, number]> {
  for (const x of [box[0], box[2]]) for (const y of [box[1], box[3]]) yield [x, y];
  for (const x of [0, width]) for (const y of [0, height]) if (!contains(box, [x, y])) yield [x, y];
}
