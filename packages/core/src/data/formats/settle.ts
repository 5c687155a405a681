/** Boxes of a whole set to pixels of upright pictures: what was not said of them is looked for in the numbers, once for all. */
import { decodeHeader, type ImageHeader } from '../../prompt/decode.ts';
import { UserError } from '../../errors.ts';
import { clipProcessor } from '../../families/processor.ts';
import { smartResize } from '../../prompt/resize.ts';
import { scaled, toCorners, turnBox, turnPoint, upright } from './geometry.ts';
import { fault, fourNumbers, isObject, objectsOf } from './record.ts';
import type { AnnotatedImage, AskedQuestion, BoxForm, Convention, Item, Numbers, Size, Units } from './record.ts';

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

/** The items with boxes in pixels of the upright picture; what cannot be converted is a fault. */
export async function settleBoxes(
  items: readonly Item[],
  declared: DeclaredBoxes,
  note: (message: string) => void,
): Promise<Item[]> {
  const marked = items.filter((item): item is Marked => item.kind !== 'fault' && boxesOf(item).length > 0);
  const headers = await headersOf(new Set(marked.map(imageOf)));
  const all = new Map<Item, Given>(
    marked.map((item) => {
      const header = headers.get(imageOf(item));
      const known = typeof header === 'string' ? { header: undefined, reason: header } : { header, reason: '' };
      return [item, { item, ...known, boxes: said(boxesOf(item), declared) }];
    }),
  );
  const found = findConvention([...all.values()], note);
  const counts = { boxes: 0, strays: 0, empty: 0 };
  const settled = items.map((item): Item => {
    const given = all.get(item);
    return given ? settle(given, found, counts) : item;
  });
  if (counts.strays > STRAYS * counts.boxes) {
    const message = `${counts.strays} of ${counts.boxes} boxes reach out of their pictures: ${SAY}`;
    return [fault(marked[0]!.place, message), ...settled.filter(({ kind }) => kind === 'fault')];
  }
  if (counts.strays > 0) note(`${counts.strays} boxes that reach out of their pictures are cut at the edge`);
  if (counts.empty > 0)
    note(`${counts.empty} boxes without area are left out; their classes are not called absent there`);
  return settled;
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
async function headersOf(files: ReadonlySet<string>): Promise<Map<string, ImageHeader | string>> {
  const headers = new Map<string, ImageHeader | string>();
  const queue = [...files];
  const worker = async () => {
    for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
      try {
        headers.set(file, await decodeHeader(file));
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        headers.set(file, `${error.reason}: ${file}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return headers;
}

function findConvention(all: readonly Given[], note: (message: string) => void): Found {
  const open = all.flatMap(({ boxes }) => boxes.filter(({ convention }) => convention.units === undefined));
  const numbers = open.flatMap((box) => box.numbers);
  const isShares = numbers.every((each) => each >= 0 && each <= 1) && numbers.some((each) => !Number.isInteger(each));
  if (isShares) note('boxes lie within 0..1 and are read as shares of the picture (--units unit)');
  const formless = all.flatMap(({ boxes, header }) =>
    boxes.filter(({ convention }) => convention.form === undefined).map((box) => ({ box: box.numbers, header })),
  );
  const isSizes =
    formless.some(({ box }) => box[0] >= box[2] || box[1] >= box[3]) &&
    formless.every(({ box, header }) =>
      isInside(toCorners(box, 'xywh'), isShares ? { width: 1, height: 1 } : sizeUp(header)),
    );
  if (isSizes) note('boxes are read as corner, width and height (--boxes xywh)');
  const votes = all.map(({ item, header }) => vote(item.frame, header));
  const isStored = votes.filter((each) => each === 'stored').length > votes.filter((each) => each === 'upright').length;
  if (isStored) note('boxes are those of pictures before their EXIF rotation, and are turned with them');
  return { form: isSizes ? 'xywh' : 'xyxy', units: isShares ? 'unit' : 'pixels', isStored };
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

function settle(given: Given, found: Found, counts: { boxes: number; strays: number; empty: number }): Item {
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
  return item.kind === 'image' ? withObjects(item, settled) : withSolution(item, settled, ways);
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

function withObjects(item: AnnotatedImage, boxes: readonly (Numbers | undefined)[]): AnnotatedImage {
  const empty = item.objects.filter((_, i) => boxes[i] === undefined).map(({ label }) => label);
  const objects = item.objects.flatMap((object, i) => (boxes[i] ? [{ ...object, numbers: boxes[i] }] : []));
  return { ...item, objects, unsure: [...item.unsure, ...empty] };
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
