/** Boxes of a whole set to pixels of upright pictures: what was not said of them is looked for in the numbers, once for all. */
import { decodeHeader, type ImageHeader } from '../../prompt/decode.ts';
import { UserError } from '../../errors.ts';
import { clipProcessor } from '../../families/processor.ts';
import { smartResize } from '../../prompt/resize.ts';
import { scaled, toCorners, turnBox, turnPoint, upright } from './geometry.ts';
import { fault, fourNumbers, isObject, objectsOf } from './record.ts';
import type { AnnotatedImage, AskedQuestion, BoxForm, Convention, Fault, Item, MaskPart, Place } from './record.ts';
import type { Numbers, Size, Units } from './record.ts';

export interface DeclaredBoxes {
  readonly boxes?: BoxForm | undefined;
  readonly units?: Units | undefined;
}

/** Pictures whose headers are read at the same time. */
const AT_ONCE = 8;
/** What a box may reach beyond its picture before that counts: pixels, and share of the longer side. */
const BEYOND = { pixels: 2, share: 0.02 };
/** Share of the boxes that may do so. */
const STRAYS = 0.25;
const SAY = 'say what the numbers are with --boxes and --units (data.boxes, data.units)';

type Marked = AnnotatedImage | AskedQuestion;

/** Boxes of an item with how they are meant. */
interface Given {
  readonly item: Marked;
  readonly header: ImageHeader | undefined;
  /** Why there is no header. */
  readonly reason: string;
  readonly boxes: readonly { readonly numbers: Numbers; readonly convention: Convention }[];
}

/** What holds for all boxes that leave it open. */
interface Found {
  readonly form: BoxForm;
  readonly units: Units;
  /** Whether a set shows its pictures as stored where the two can be told apart. */
  readonly isStored: boolean;
}

/** An item with what its picture's header says, or why that cannot be read. */
export interface Looked {
  readonly item: Item;
  readonly header?: ImageHeader | undefined;
  readonly reason?: string | undefined;
}

interface Counts {
  boxes: number;
  /** That reach out of their pictures; without area; the same as another of their picture. */
  strays: number;
  empty: number;
  twice: number;
}

/**
 * Brings boxes to pixels of the upright picture, in two passes over the items of a source: all are looked at, then each is
 * settled. Nothing is kept of an item.
 */
export class Settling {
  readonly #declared: DeclaredBoxes;
  readonly #note: (message: string) => void;
  readonly #seen = new Conventions();
  readonly #counts: Counts = { boxes: 0, strays: 0, empty: 0, twice: 0 };
  /** Headers of the items that were looked at last: neighbours often show one picture. */
  #headers = new Map<string, ImageHeader | string>();
  #found: Found | undefined;
  #first: Place | undefined;

  constructor(declared: DeclaredBoxes, note: (message: string) => void) {
    this.#declared = declared;
    this.#note = note;
  }

  async look(items: readonly Item[], signal?: AbortSignal): Promise<Looked[]> {
    const isMarked = (item: Item): item is Marked => item.kind !== 'fault' && boxesOf(item).length > 0;
    const files = new Set(items.filter(isMarked).map(imageOf));
    this.#headers = await headersOf(files, this.#headers, signal);
    return items.map((item): Looked => {
      if (!isMarked(item)) return { item };
      const header = this.#headers.get(imageOf(item));
      const looked = typeof header === 'string' ? { item, reason: header } : { item, header };
      this.#seen.add(this.#given(item, looked));
      this.#first ??= item.place;
      return looked;
    });
  }

  /** The item with its boxes converted, or a fault where they cannot be. */
  settle(looked: Looked): Item {
    const { item } = looked;
    if (item.kind === 'fault' || boxesOf(item).length === 0) return item;
    this.#found ??= this.#seen.find(this.#note);
    return settle(this.#given(item, looked), this.#found, this.#counts);
  }

  /** Says what was done; a fault where the boxes are not what they were taken for. */
  finish(): Fault | undefined {
    const { boxes, strays, empty, twice } = this.#counts;
    if (strays > STRAYS * boxes) {
      return fault(this.#first!, `${strays} of ${boxes} boxes reach out of their pictures: ${SAY}`);
    }
    if (strays > 0) this.#note(`${strays} boxes that reach out of their pictures are cut at the edge`);
    if (empty > 0) this.#note(`${empty} boxes without area are left out; their classes are not called absent there`);
    if (twice > 0) this.#note(`${twice} boxes that are there twice, with the same class, are left out`);
    return undefined;
  }

  #given(item: Marked, { header, reason = '' }: Looked): Given {
    return { item, header, reason, boxes: said(boxesOf(item), this.#declared) };
  }
}

const imageOf = (item: Marked): string => (item.kind === 'image' ? item.image : (item.images[0] ?? ''));

function boxesOf(item: Marked): { numbers: Numbers; convention: Convention }[] {
  if (item.kind === 'image') return item.objects.map(({ numbers, convention }) => ({ numbers, convention }));
  if (item.images.length !== 1) return [];
  return objectsOf(item.fields['solution']).flatMap(({ bbox_2d: box }) => {
    const numbers = Array.isArray(box) ? fourNumbers(box as unknown[]) : undefined;
    return numbers ? [{ numbers, convention: item.convention }] : [];
  });
}

/** What the user says goes before what the format says, where that leaves a choice. */
const said = (boxes: readonly { numbers: Numbers; convention: Convention }[], { boxes: form, units }: DeclaredBoxes) =>
  boxes.map(({ numbers, convention }) => ({
    numbers,
    convention: convention.fixed
      ? convention
      : { form: form ?? convention.form, units: units ?? convention.units, fixed: units !== undefined },
  }));

/** Headers of pictures, or why one cannot be read. */
async function headersOf(
  files: ReadonlySet<string>,
  known: ReadonlyMap<string, ImageHeader | string>,
  signal?: AbortSignal,
): Promise<Map<string, ImageHeader | string>> {
  const headers = new Map<string, ImageHeader | string>();
  const queue = [...files];
  const worker = async () => {
    for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
      signal?.throwIfAborted();
      try {
        headers.set(file, known.get(file) ?? (await decodeHeader(file)));
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        headers.set(file, `${error.reason}: ${file}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return headers;
}

/** What the numbers of all boxes of a set have in common. */
class Conventions {
  #all = { withinOne: true, asSizesOfOne: true, asSizes: true };
  #any = { fraction: false, inverted: false };
  #votes = { stored: 0, upright: 0 };

  add({ item, header, boxes }: Given): void {
    const [all, any] = [this.#all, this.#any];
    for (const { numbers, convention } of boxes) {
      if (convention.units === undefined) {
        all.withinOne &&= numbers.every((each) => each >= 0 && each <= 1);
        any.fraction ||= numbers.some((each) => !Number.isInteger(each));
      }
      if (convention.form !== undefined) continue;
      any.inverted ||= numbers[0] >= numbers[2] || numbers[1] >= numbers[3];
      all.asSizesOfOne &&= isInside(toCorners(numbers, 'xywh'), { width: 1, height: 1 });
      all.asSizes &&= isInside(toCorners(numbers, 'xywh'), sizeUp(header));
    }
    const voted = vote(item.frame, header);
    if (voted) this.#votes[voted] += 1;
  }

  find(note: (message: string) => void): Found {
    const isShares = this.#all.withinOne && this.#any.fraction;
    if (isShares) note('boxes lie within 0..1 and are read as shares of the picture (--units unit)');
    const isSizes = this.#any.inverted && (isShares ? this.#all.asSizesOfOne : this.#all.asSizes);
    if (isSizes) note('boxes are read as corner, width and height (--boxes xywh)');
    const isStored = this.#votes.stored > this.#votes.upright;
    if (isStored) note('boxes are those of pictures before their EXIF rotation, and are turned with them');
    return { form: isSizes ? 'xywh' : 'xyxy', units: isShares ? 'unit' : 'pixels', isStored };
  }
}

const sizeUp = (header: ImageHeader | undefined): Size =>
  header ? upright(header, header.orientation) : { width: Infinity, height: Infinity };

const isInside = ([x0, y0, x1, y1]: Numbers, { width, height }: Size): boolean =>
  x0 >= 0 && y0 >= 0 && x0 < x1 && y0 < y1 && x1 <= width + 1 && y1 <= height + 1;

const isSame = (a: Size, b: Size): boolean => Math.abs(a.width - b.width) <= 1 && Math.abs(a.height - b.height) <= 1;
/** To the pixels that rounding of the shorter side costs. */
const isAlike = (a: Size, b: Size): boolean => Math.abs((a.width * b.height) / (a.height * b.width) - 1) < 0.02;

/** Which of its two frames a set means by the size that it names, where they differ. */
function vote(frame: Size | undefined, header: ImageHeader | undefined): 'stored' | 'upright' | undefined {
  if (!frame || !header || header.orientation < 5 || isSame(header, sizeUp(header))) return undefined;
  if (isSame(frame, header)) return 'stored';
  return isSame(frame, sizeUp(header)) ? 'upright' : undefined;
}

function settle(given: Given, found: Found, counts: Counts): Item {
  const { item, header, boxes } = given;
  const target = header ? sizeUp(header) : item.frame;
  const settled: (Numbers | undefined)[] = [];
  const ways: Way[] = [];
  for (const { numbers, convention } of boxes) {
    const units = convention.units ?? found.units;
    const corners = toCorners(numbers, convention.form ?? found.form);
    if (units === 'pixels' && !convention.fixed && isShare(numbers, header)) {
      return fault(item.place, `the box [${numbers.join(', ')}] lies within 0..1, others do not: ${SAY}`);
    }
    const way = wayOf(given, units, found);
    if (typeof way === 'string') return { ...fault(item.place, way), ...(!header && { about: 'image' }) };
    ways.push(way);
    const box = way.box(corners);
    counts.boxes += 1;
    if (target && reachesOut(box, target)) counts.strays += 1;
    const cut = target ? cutAt(box, target) : box;
    const has = cut[0] < cut[2] && cut[1] < cut[3];
    if (!has) counts.empty += 1;
    settled.push(has ? (cut.map(rounded) as unknown as Numbers) : undefined);
  }
  if (item.kind === 'question') return withSolution(item, settled, ways);
  const once = withObjects(item, settled, ways);
  counts.twice += item.objects.length - settled.filter((box) => !box).length - once.objects.length;
  return once;
}

/** Hundredths of a pixel. */
const rounded = (value: number): number => Math.round(value * 100) / 100;

const isShare = (numbers: Numbers, header: ImageHeader | undefined): boolean =>
  numbers.every((each) => each >= 0 && each <= 1) &&
  (numbers.some((each) => !Number.isInteger(each)) || Math.min(header?.width ?? 0, header?.height ?? 0) > 16);

const reachesOut = ([x0, y0, x1, y1]: Numbers, { width, height }: Size): boolean => {
  const slack = Math.max(BEYOND.pixels, BEYOND.share * Math.max(width, height));
  return x0 < -slack || y0 < -slack || x1 > width + slack || y1 > height + slack;
};

const cutAt = ([x0, y0, x1, y1]: Numbers, { width, height }: Size): Numbers => [
  Math.min(Math.max(x0, 0), width),
  Math.min(Math.max(y0, 0), height),
  Math.min(Math.max(x1, 0), width),
  Math.min(Math.max(y1, 0), height),
];

/** From the numbers of a set to pixels of the upright picture. */
interface Way {
  readonly box: (corners: Numbers) => Numbers;
  readonly point: (point: readonly [number, number]) => [number, number];
}

/** Numbers of a frame that is so large, which shows the picture as stored or upright. */
function fromFrame(from: Size, header: ImageHeader | undefined, isStored: boolean, fallback = from): Way {
  const to = header ? (isStored ? header : sizeUp(header)) : fallback;
  const [x, y] = [to.width / from.width, to.height / from.height];
  const turn = header && isStored ? header : undefined;
  return {
    box: (corners) => (turn ? turnBox(scaled(corners, x, y), turn.orientation, turn) : scaled(corners, x, y)),
    point: ([px, py]) => (turn ? turnPoint([px * x, py * y], turn.orientation, turn) : [px * x, py * y]),
  };
}

/** How numbers of a picture become pixels, or why that cannot be said. */
function wayOf({ item, header, reason, boxes }: Given, units: Units, found: Found): Way | string {
  const { frame } = item;
  const own = header && sizeUp(header);
  const isStored = (vote(frame, header) ?? (found.isStored ? 'stored' : 'upright')) === 'stored';
  if (units !== 'pixels' && units !== 'resized') {
    const whole = { unit: 1, percent: 100, thousandths: 1000 }[units];
    if (!header && !frame) return reason;
    return fromFrame({ width: whole, height: whole }, header, isStored, frame);
  }
  if (!header || !own) return fromFrame(frame ?? { width: 1, height: 1 }, undefined, false);
  if (units === 'resized') {
    const scaledTo = frame ?? smartResize(own, { ...clipProcessor, ...clipProcessor.image });
    return fromFrame(scaledTo, header, frame !== undefined && !isAlike(frame, own) && isAlike(frame, header));
  }
  const corners = boxes.map(({ numbers, convention }) => toCorners(numbers, convention.form ?? found.form));
  const fits = (size: Size): boolean => corners.every((box) => !reachesOut(box, size));
  if (!frame) {
    const turns = isStored || (!fits(own) && fits(header));
    return fromFrame(turns ? header : own, header, turns);
  }
  if (isSame(frame, own) || isSame(frame, header)) return fromFrame(isStored ? header : own, header, isStored);
  // Sets for training name the size that a picture had before it was scaled with its boxes.
  if (item.kind === 'question' && fits(own)) return fromFrame(own, header, false);
  if (isAlike(frame, own)) return fromFrame(frame, header, false);
  if (isAlike(frame, header) && header.orientation >= 5) return fromFrame(frame, header, true);
  if (isSame({ width: frame.height, height: frame.width }, own) && fits(own)) return fromFrame(own, header, false);
  const [a, b] = [frame, own].map(({ width, height }) => `${width} x ${height}`);
  return `boxes are those of a picture of ${a!}, and it is ${b!}: --units resized says that it was scaled`;
}

function withObjects(
  item: AnnotatedImage,
  boxes: readonly (Numbers | undefined)[],
  ways: readonly Way[],
): AnnotatedImage {
  const empty = item.objects.filter((_, i) => boxes[i] === undefined).map(({ label }) => label);
  const objects = item.objects.flatMap((object, i) =>
    boxes[i] ? [{ ...object, numbers: boxes[i], mask: object.mask && maskBy(ways[i]!, object.mask) }] : [],
  );
  const once = new Map(objects.map((object) => [JSON.stringify([object.label, object.numbers]), object]));
  return { ...item, objects: [...once.values()], unsure: [...item.unsure, ...empty] };
}

/** Polygons go as boxes do; run lengths stay where nothing is scaled or turned, and are lost elsewhere. */
function maskBy(way: Way, mask: readonly MaskPart[]): readonly MaskPart[] | undefined {
  const isSame = String([way.point([0, 0]), way.point([3, 7])]) === '0,0,3,7';
  if (isSame) return mask;
  const polygons = mask.filter((part): part is readonly number[] => Array.isArray(part));
  if (polygons.length < mask.length) return undefined;
  return polygons.map((polygon) =>
    Array.from({ length: polygon.length / 2 }, (_, i) =>
      way.point([polygon[2 * i]!, polygon[2 * i + 1]!]).map(rounded),
    ).flat(),
  );
}

function withSolution(item: AskedQuestion, boxes: readonly (Numbers | undefined)[], ways: readonly Way[]): Item {
  if (boxes.some((box) => box === undefined))
    return fault(item.place, 'a box of the solution has no area in its picture');
  let at = 0;
  const solution = (item.fields['solution'] as unknown[]).map((object) => {
    if (!isObject(object) || !Array.isArray(object['bbox_2d'])) return object;
    const [box, way] = [boxes[at]!, ways[at++]!];
    const points = ['point_2d', 'second_2d'].flatMap((name): [string, number[]][] => {
      const point = object[name];
      const isPoint = Array.isArray(point) && point.length === 2;
      return isPoint ? [[name, way.point(point as [number, number]).map(rounded)]] : [];
    });
    return { ...object, bbox_2d: box, ...Object.fromEntries(points) };
  });
  return { ...item, fields: { ...item.fields, solution } };
}
