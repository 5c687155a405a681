/**
 * YOLO: `data.yaml` with the names, a text file of `class cx cy w h` (or a polygon) beside every image. A picture without
 * a file shows nothing, as Ultralytics has it; `skip_if_label_file_missing` leaves it out.
 */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { messageOf, UserError } from '../../errors.ts';
import { HEIC_REMEDY } from '../../prompt/decode.ts';
import { readBytes } from '../../regular.ts';
import { hull, outlineOf, pointsOf } from './geometry.ts';
import { fault, fourNumbers, isObject, isText, type Item, type LabelledBox } from './record.ts';
import type { ReadContext, Reader } from './reader.ts';
import { filesUnder, IMAGE_NAME, isOfSplit, readText, type Source } from './source.ts';

const NAMES = /(?:^|\/)(?:obj\.names|classes\.txt)$/;
const SHARES = { units: 'unit', fixed: true } as const;

export const yolo: Reader = {
  name: 'yolo',
  knows: ({ file, extension, head }) =>
    NAMES.test(file) || (['yaml', 'yml'].includes(extension) && /^['"]?names['"]?\s*:/m.test(head)),
  async *read(source, context) {
    const set = await openSet(source);
    context.declare(...set.classes.values());
    for (const [name, numbers] of Map.groupBy(set.classes.keys(), (number) => set.classes.get(number)!)) {
      if (numbers.length > 1) context.note(`classes ${numbers.join(' and ')} are one: both are called ${name}`);
    }
    for (const { folder, isNear } of set.parts) if (isNear) context.images.allow(folder);
    const images = new Map(set.parts.flatMap((part) => imagesIn(part).map((image) => [image, part] as const)));
    const shared = set.parts.map(({ folder }) => folder).find((folder, i, all) => all.indexOf(folder) < i);
    if (shared !== undefined) {
      context.note(
        `parts of data.yaml are one folder (${path.relative(source.root, shared)}): nothing is held out by it`,
      );
    }
    if (images.size === 0) throw noPictures(source, set.parts);
    const seen = new Set<string>();
    let bare = 0;
    for (const [image, part] of images) {
      const labels = labelFiles(image, part).find((file) => existsSync(file));
      if (labels === undefined && set.skipsMissing) continue;
      if (labels === undefined) bare += 1;
      else seen.add(labels);
      yield labels === undefined
        ? { kind: 'image', place: { file: image, record: 1 }, image, objects: [], unsure: [] }
        : await imageOf(image, labels, set.classes);
    }
    if (seen.size === 0) {
      throw new UserError(`no labels beside any of ${images.size} images`, {
        where: source.path,
        remedy: 'They belong into a folder labels beside images, as a text file for every image.',
      });
    }
    if (bare > 0) {
      context.note(
        `${bare} of ${images.size} pictures have no file of labels: they are taken to show nothing ` +
          '(skip_if_label_file_missing: true in data.yaml leaves them out)',
      );
    }
    orphans(source, seen, set, context);
  },
};

/** A folder of images, and where their labels may be apart from it. */
interface Part {
  readonly folder: string;
  readonly labels: string | undefined;
  /** Whether it was looked for near the set, rather than named. */
  readonly isNear?: boolean;
}

const imagesIn = ({ folder }: Part): string[] => filesUnder(folder).filter((file) => IMAGE_NAME.test(file));

interface YoloSet {
  readonly classes: ReadonlyMap<number, string>;
  readonly parts: readonly Part[];
  readonly skipsMissing: boolean;
}

async function openSet(source: Source): Promise<YoloSet> {
  const yaml = source.files.find((file) => /\.ya?ml$/i.test(file));
  if (yaml === undefined) return openDarknet(source);
  const document = parseYaml(await readText(yaml), yaml);
  const names = document['names'];
  const pairs = Array.isArray(names) ? [...names.entries()] : isObject(names) ? Object.entries(names) : [];
  const classes = new Map(pairs.map(([number, name]): [number, string] => [Number(number), String(name)]));
  if (classes.size === 0) throw new UserError('it names no classes under names', { where: yaml });
  const nameless = [...classes].find(([, name]) => name.trim() === '')?.[0];
  if (nameless !== undefined) throw new UserError(`class ${nameless} has no name under names`, { where: yaml });
  const base = path.resolve(path.dirname(yaml), isText(document['path']) ? document['path'] : '.');
  const named = ['train', 'val', 'valid', 'validation', 'test'].filter((part) => document[part] !== undefined);
  const { split } = source;
  const wanted = split === undefined ? named : named.filter((part) => isOfSplit(part, split));
  if (wanted.length === 0) {
    const remedy = 'Name the folders of images in it, such as train: images/train and val: images/val.';
    if (named.length === 0)
      throw new UserError('it names no images: train, val and test are missing', { where: yaml, remedy });
    throw new UserError(`no split ${split}: it has ${named.join(', ')}`, { where: yaml });
  }
  const parts = wanted.flatMap((part) => partsOf(document[part], part, base, path.dirname(yaml)));
  if (parts.length === 0) {
    const entries = wanted.map((part) => String(document[part])).join(', ');
    const near = source.files.map((file) => path.relative(source.root, path.dirname(file)));
    const other = [...new Set(near)].find((each) => /^labels(?=\/|$)/i.test(each) && !each.startsWith('labels'));
    const remedy =
      other && `Upper and lower case count here: there is ${other}; rename the folders to images and labels.`;
    throw new UserError(`the folders of images are not there: ${entries}`, { where: yaml, remedy });
  }
  return { classes, parts, skipsMissing: document['skip_if_label_file_missing'] === true };
}

function parseYaml(text: string, file: string): Record<string, unknown> {
  try {
    const value: unknown = parse(text, { maxAliasCount: 20 });
    if (isObject(value)) return value;
  } catch (error) {
    throw new UserError(`malformed YAML: ${messageOf(error).split('\n')[0]!}`, { where: file });
  }
  throw new UserError('not a data.yaml', { where: file });
}

/**
 * Folders that an entry names. Roboflow's `../train/images` is meant from elsewhere and stands beside the file; several sets
 * may share the images of the folder above, with labels of their own.
 */
function partsOf(entry: unknown, part: string, base: string, beside: string): Part[] {
  return [entry].flat().flatMap((each): Part[] => {
    if (!isText(each)) return [];
    const inner = each.replace(/^(?:\.\.\/)+/, '');
    const places = [path.resolve(base, each), path.resolve(beside, each), path.join(beside, inner)];
    const usual = [
      path.join(beside, part, 'images'),
      path.join(beside, 'images', part),
      path.join(beside, '..', inner),
    ];
    const folder = [...places, ...usual].find((place) => isFolder(place));
    const isNear = folder !== undefined && usual.includes(folder) && !inner.split('/').includes('..');
    const labels = path.join(beside, inner.replace(/(^|\/)images(?=\/|$)/, '$1labels'));
    return folder === undefined ? [] : [{ folder, labels: isFolder(labels) ? labels : undefined, isNear }];
  });
}

/** Names in `obj.names` or `classes.txt`, images anywhere below. */
async function openDarknet(source: Source): Promise<YoloSet> {
  const file = source.files.find((each) => NAMES.test(each))!;
  const lines = (await readText(file)).split(/\r?\n/).map((line) => line.trim());
  const classes = new Map(lines.filter((line) => line !== '').map((name, i): [number, string] => [i, name]));
  return { classes, parts: [{ folder: path.dirname(file), labels: undefined }], skipsMissing: true };
}

/** Where the labels of an image may be: `images` in its path becomes `labels`, else beside it. */
function labelFiles(image: string, { folder, labels }: Part): string[] {
  const stem = image.slice(0, image.length - path.extname(image).length);
  const parts = stem.split(path.sep);
  const at = parts.findLastIndex((part) => /^images$/i.test(part));
  const others = ['labels', 'labelTxt', 'Annotations'].map((name) => parts.with(Math.max(at, 0), name).join(path.sep));
  const own = labels === undefined ? [] : [path.join(labels, path.relative(folder, stem))];
  return [...own, ...(at < 0 ? [] : others), stem].flatMap((each) => ['.txt', '.TXT', '.Txt'].map((end) => each + end));
}

async function imageOf(image: string, file: string, classes: ReadonlyMap<number, string>): Promise<Item> {
  const objects: LabelledBox[] = [];
  const unsure: string[] = [];
  for (const [i, line] of (await readText(file)).split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const place = { file, record: i + 1 };
    const turned = turnedBox(line);
    if (turned) {
      if (turned.isDifficult) unsure.push(turned.label);
      else objects.push(turned);
      continue;
    }
    const [number, ...values] = line.trim().split(/\s+/).map(Number);
    const label = classes.get(number!);
    if (label === undefined) return fault(place, `there is no class ${line.trim().split(/\s+/)[0]!}`);
    // A sixth number is the confidence of a model.
    const box = values.length === 4 || values.length === 5 ? fourNumbers(values.slice(0, 4)) : undefined;
    const outline = values.length >= 6 && values.length % 2 === 0 ? outlineOf(pointsOf(values)) : undefined;
    const shape = box ? { numbers: box } : outline;
    if (!shape) return fault(place, 'neither class, centre and size, nor class and outline');
    objects.push({ label, ...shape, convention: { ...SHARES, form: box ? 'cxcywh' : 'xyxy' } });
  }
  return { kind: 'image', place: { file, record: 1 }, image, objects, unsure };
}

/** DOTA's line for a turned box: four corners in pixels, the name, whether it is difficult. */
function turnedBox(line: string): (LabelledBox & { readonly isDifficult: boolean }) | undefined {
  const [, corners, label, difficult] = /^\s*((?:-?[\d.]+\s+){8})([^\d\s]\S*)(?:\s+(\d))?\s*$/.exec(line) ?? [];
  const numbers = hull(pointsOf((corners ?? '').trim().split(/\s+/)));
  if (label === undefined || !numbers) return undefined;
  return { label, numbers, convention: { form: 'xyxy' }, isDifficult: difficult === '1' };
}

/** Why nothing is found where images should be. */
function noPictures(source: Source, parts: readonly Part[]): UserError {
  const others = parts.flatMap(({ folder }) => filesUnder(folder));
  const isPhone = others.some((file) => /\.hei[cf]$/i.test(file));
  const remedy = isPhone ? HEIC_REMEDY : 'PNG, JPEG, WebP, GIF, TIFF, BMP and AVIF are looked for.';
  const folders = parts.map(({ folder }) => path.relative(source.root, folder)).join(', ');
  const found = isPhone ? 'HEIC, which is not read' : `${others.length} other files`;
  return new UserError(`no pictures in ${folders}: ${found}`, { where: source.path, remedy });
}

/** Says which label files belong to no image. */
function orphans(source: Source, seen: ReadonlySet<string>, set: YoloSet, context: ReadContext): void {
  const tops = new Set(set.parts.map((part) => path.dirname(labelFiles(path.join(part.folder, 'x.jpg'), part)[0]!)));
  const files = [...tops].flatMap((top) => (isFolder(top) ? filesUnder(top) : []));
  const lost = files.filter((file) => /\.txt$/i.test(file) && !seen.has(file) && isLabels(file));
  const first = lost.slice(0, 3).map((file) => path.relative(source.root, file));
  if (lost.length > 0) context.note(`${lost.length} label files have no image: ${first.join(', ')}`);
}

const isLabels = (file: string): boolean => /^\d+ [\d.]+ [\d.]+ /.test(readBytes(file).toString('latin1', 0, 200));
const isFolder = (place: string): boolean => statSync(place, { throwIfNoEntry: false })?.isDirectory() ?? false;
