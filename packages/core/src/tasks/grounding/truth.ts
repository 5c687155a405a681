/** Labels of the grounding task: JSON in pixels of the original image, read strictly. */
import { messageOf, UserError } from '../../errors.ts';
import type { Box, Frame, Point, Sample } from '../../types.ts';
import { asList, isNumbers, isRecord, MAX_OBJECTS } from './answer.ts';
import { contains } from './geometry.ts';

export interface TrueObject {
  readonly box: Box;
  /** Present on all objects of a dataset, or on none. */
  readonly point: Point | undefined;
  /** Another point inside the object, which Seg-Zero's answers have. */
  readonly second?: Point | undefined;
}

export interface GroundingTruth {
  /** Empty where nothing in the image matches. */
  readonly objects: readonly TrueObject[];
}

const EXAMPLE = 'write [{"bbox_2d": [x0, y0, x1, y1]}, ...] in pixels of the original image, or [] if nothing matches';

/**
 * Reads `[{"bbox_2d": [x0, y0, x1, y1], "point_2d": [x, y]}, ...]`, or one such object without the list. A `"label"`
 * beside a box, as Qwen writes it, is read over; `"second_2d"` is another point.
 * @throws UserError that names the sample and says what is wrong with its solution
 */
export function parseTruth(sample: Sample, points: boolean, frame?: Frame): GroundingTruth {
  const fail = (reason: string, remedy = EXAMPLE): never => {
    const where = `${sample.source.file}:${sample.source.line} (${sample.id})`;
    throw new UserError(reason, { where, remedy });
  };
  if (sample.images.length !== 1) {
    fail(`grounding needs exactly one image, this sample has ${sample.images.length}`, 'give the sample one image');
  }
  let list: unknown;
  try {
    list = asList(JSON.parse(sample.solution));
  } catch (error) {
    fail(`the solution is not JSON: ${messageOf(error)}`);
  }
  if (!Array.isArray(list)) return fail('the solution is not a list');
  if (list.length > MAX_OBJECTS) {
    fail(`the solution has ${list.length} objects`, `at most ${MAX_OBJECTS} are possible: leave some out`);
  }
  const items: readonly unknown[] = list;
  return {
    objects: items.map((item, i) => {
      const failHere = (reason: string) => fail(`object ${i + 1}: ${reason}`);
      const object = trueObject(item, points, failHere);
      if (frame !== undefined && !isInside(object, frame)) {
        failHere(`it reaches outside the image, which is ${frame.width} x ${frame.height}`);
      }
      return object;
    }),
  };
}

/** Lower bounds are checked where a box is read. */
function isInside({ box, point, second }: TrueObject, { width, height }: Frame): boolean {
  const picture: Box = [0, 0, width, height];
  const points = [point, second].filter((each) => each !== undefined);
  return box[2] <= width && box[3] <= height && points.every((each) => contains(picture, each));
}

function trueObject(item: unknown, points: boolean, fail: (reason: string) => never): TrueObject {
  if (!isRecord(item)) return fail('it is not an object with "bbox_2d"');
  const { bbox_2d: box, point_2d: point, second_2d: second, label, ...others } = item;
  if (label !== undefined && typeof label !== 'string') return fail('"label" is not a text');
  const [unknownField] = Object.keys(others);
  if (unknownField !== undefined) return fail(`unknown field "${unknownField}"`);
  if (!isNumbers<Box>(box, 4)) return fail('"bbox_2d" is not four numbers');
  if (box.some((value) => value < 0)) return fail(`the box ${JSON.stringify(box)} has a negative coordinate`);
  if (box[0] >= box[2] || box[1] >= box[3]) {
    return fail(`the box ${JSON.stringify(box)} has no area: x0 < x1 and y0 < y1 must hold`);
  }
  if (!points) return { box, point: undefined };
  if (point === undefined) {
    return fail('"point_2d" is missing, which other labels have (task.points=false ignores all points)');
  }
  if (!isNumbers<Point>(point, 2)) return fail('"point_2d" is not two numbers');
  if (second === undefined) return { box, point };
  return isNumbers<Point>(second, 2) ? { box, point, second } : fail('"second_2d" is not two numbers');
}
