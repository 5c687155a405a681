/**
 * How a region that was answered compares with the true one: pixels of masks where the answer has one, else what its
 * boxes cover together against what the true boxes cover.
 */
import { clip, coveredArea, hull, iou } from '../tasks/grounding/geometry.ts';
import type { Box } from '../types.ts';
import { readPointing, type Pointing } from './answers.ts';
import { percent, ratio, unparsable, type Marks, type MirrorRow, type Protocol, type Said } from './benchmark.ts';
import { maskBox, overlapOf, type Mask, type Overlap } from '../masks/masks.ts';

export interface Region {
  readonly width: number;
  readonly height: number;
  /** True boxes; empty where nothing is there. */
  readonly boxes: readonly Box[];
  readonly mask: () => Mask;
  /** Value of pixels of the mask that count on neither side. */
  readonly ignored?: number | undefined;
}

/** How one answer is judged, by the one or the other way to read it. */
interface Judged {
  /** The answer says that nothing is there. */
  readonly none: boolean;
  readonly intersection: number;
  readonly union: number;
}

export interface RegionMarks extends Marks, Judged {
  /** There is something to find. */
  readonly present: boolean;
  readonly iou: number;
  /** A box of the answer, or the hull of them all, overlaps the hull of the truth by more than half. */
  readonly boxHit: boolean;
  /** What the overlap is of. */
  readonly of: 'mask' | 'boxes';
  /** Under the protocol visurf, without what is peculiar to it. */
  readonly strict?: { readonly none: boolean; readonly iou: number } | undefined;
}

const areaOf = (boxes: readonly Box[]): number => coveredArea(boxes);

function overlapOfBoxes(predicted: readonly Box[], region: Region): Overlap {
  const visible = predicted.map((box) => clip(box, region));
  const [own, union] = [areaOf(visible), areaOf([...visible, ...region.boxes])];
  return { predicted: own, intersection: Math.max(0, own + areaOf(region.boxes) - union), union };
}

/**
 * "Predicted none" is a statement, not an empty mask: without a target it earns IoU 1 and adds nothing to the sums,
 * with one it has no intersection.
 */
function judge(overlap: Overlap, none: boolean, present: boolean): Judged {
  const { intersection, union } = overlap;
  if (none) return { none, intersection: 0, union: present ? union : 0 };
  return { none, intersection: present ? intersection : 0, union };
}

const iouOf = ({ none, intersection, union }: Judged, present: boolean): number =>
  present ? (union > 0 ? intersection / union : 0) : Number(none);

export function markRegion(said: Said, region: Region, protocol: Protocol): RegionMarks {
  const present = region.boxes.length > 0;
  const overlap = ({ boxes }: Pointing): Overlap =>
    said.mask ? overlapOf(said.mask, region.mask(), region.ignored) : overlapOfBoxes(boxes, region);
  const plain = readPointing(said.text, said.frame, 'official');
  const strict = judge(overlap(plain), saysNone(plain), present);
  const rest = { present, of: said.mask ? 'mask' : 'boxes' } as const;
  if (protocol === 'official') {
    const boxHit = hitsBox(plain.boxes, saysNone(plain), region);
    return { ...rest, ...strict, iou: iouOf(strict, present), boxHit, parsed: plain.parsed };
  }
  const read = readPointing(said.text, said.frame, 'visurf');
  // Boxes and points that are not of one number were drawn, and their masks never merged.
  const drawn = read.points.length === read.boxes.length ? read : { ...read, boxes: [] };
  const own = judge(overlap(drawn), read.boxes.length === 0, present);
  return {
    ...{
      ...rest,
      ...own,
      iou: iouOf(own, present),
      boxHit: hitsBox(read.boxes, own.none, region),
      parsed: read.parsed,
    },
    strict: { none: strict.none, iou: iouOf(strict, present) },
  };
}

const saysNone = ({ parsed, boxes, points }: Pointing): boolean => parsed && boxes.length + points.length === 0;

/** A mirror has one box for all objects: its own, or that around the mask. */
export async function mirroredRegion({ box, mask: read }: MirrorRow): Promise<Region> {
  const mask = await read();
  const around = maskBox(mask);
  return { width: mask.width, height: mask.height, boxes: around ? [box ?? around] : [], mask: () => mask };
}

const HIT = 0.5;

/** Published rule for boxes: plain areas; a question without a target is hit by an answer that nothing is there. */
function hitsBox(boxes: readonly Box[], none: boolean, region: Region): boolean {
  if (region.boxes.length === 0) return none;
  if (boxes.length === 0) return false;
  const truth = hull(region.boxes);
  return boxes.some((box) => iou(box, truth) > HIT) || iou(hull(boxes), truth) > HIT;
}

/**
 * In percent: gIoU mean IoU of all; cIoU sum of intersections / sum of unions; pr70.. share of questions with a target
 * whose IoU reaches it; presentIoU mean IoU of those; falseEmpty share of those answered by nothing; nAcc share of
 * questions without a target answered by nothing, tAcc of those with one answered by something (ReLA: both 0 where
 * every question has a target; they are left out then unless `absent`).
 */
export function regionMetrics(
  marks: readonly RegionMarks[],
  protocol: Protocol,
  absent = true,
): Record<string, number | null> {
  const [present, empty] = [marks.filter((each) => each.present), marks.filter((each) => !each.present)];
  const sum = (value: (each: RegionMarks) => number): number => marks.reduce((all, each) => all + value(each), 0);
  const reaching = (least: number): number | null => percent(present, (each) => each.iou >= least);
  const tAcc = empty.length === 0 ? 0 : percent(present, ({ none }) => !none);
  return {
    gIoU: percent(marks, (each) => each.iou),
    cIoU: ratio(
      sum(({ intersection }) => intersection),
      sum(({ union }) => union),
    ),
    ...(absent && { nAcc: percent(empty, ({ none }) => none) ?? 0, tAcc }),
    ...{ pr70: reaching(0.7), pr80: reaching(0.8), pr90: reaching(0.9) },
    presentIoU: percent(present, (each) => each.iou),
    falseEmpty: percent(present, ({ none }) => none),
    boxAccuracy: percent(marks, ({ boxHit }) => boxHit),
    unparsable: unparsable(marks),
    ...(protocol === 'visurf' && strictMetrics(marks, empty, absent)),
  };
}

const strictMetrics = (
  marks: readonly RegionMarks[],
  empty: readonly RegionMarks[],
  absent: boolean,
): Record<string, number | null> => ({
  'gIoU.strict': percent(marks, ({ strict }) => strict?.iou ?? 0),
  ...(absent && { 'nAcc.strict': percent(empty, ({ strict }) => strict?.none ?? false) }),
});

/** What the figures are of, where they are not of masks throughout; and what the published code does. */
export function regionNotes(marks: readonly RegionMarks[], protocol: Protocol): string[] {
  const boxes = marks.filter(({ of }) => of === 'boxes').length;
  return [
    ...(boxes > 0
      ? [
          `IoU of boxes, not of masks, in ${boxes} of ${marks.length} answers: what the answer's boxes cover together ` +
            'against the true boxes. The protocol is of masks that SAM2 draws; predictions may bring them as "mask".',
        ]
      : []),
    ...(protocol === 'visurf'
      ? [
          'As in the published code an answer that cannot be read says that nothing is there, and boxes that are not as many ' +
            'as their points have no mask; "strict" is without both.',
        ]
      : []),
  ];
}
