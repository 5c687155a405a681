/** Folders as people keep them: what can be understood is, what cannot is named, and nothing ends in a model of nothing. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, expect, test } from 'vitest';
import { checkData } from '../check.ts';
import { UserError } from '../errors.ts';
import { makeParts } from '../init/files.ts';
import { rowsOf } from './formats/testkit.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'visurf-untidy-'));
afterAll(() => rmSync(directory, { recursive: true }));

const [width, height] = [120, 80];
const plain = (background: string): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background } })
    .jpeg()
    .toBuffer();
const [picture, other] = await Promise.all(['#4080c0', '#c08040'].map(plain) as [Promise<Buffer>, Promise<Buffer>]);

type Files = Readonly<Record<string, string | Buffer>>;

function folderOf(files: Files): string {
  const folder = mkdtempSync(path.join(directory, 'set-'));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), content);
  }
  return folder;
}

interface Coco {
  readonly images: Record<string, unknown>[];
  readonly annotations: Record<string, unknown>[];
}

/** A cat in one picture, none in the other. */
function cocoOf(change: (set: Coco) => void = () => undefined): string {
  const names = ['a.jpg', 'b.jpg'];
  const set = {
    images: names.map((file_name, i) => ({ id: i + 1, file_name, width, height })),
    annotations: [{ id: 1, image_id: 1, category_id: 1, bbox: [20, 10, 50, 40] }],
    categories: [{ id: 1, name: 'cat' }],
  };
  change(set);
  return JSON.stringify(set);
}

const pictures: Files = { 'a.jpg': picture, 'b.jpg': other };
const cat = [{ bbox_2d: [20, 10, 70, 50] }];
const expectCats = async (files: Files): Promise<readonly string[]> => {
  const { rows, findings, notes } = await rowsOf(folderOf(files));
  expect(findings).toEqual([]);
  expect(rows.map(({ fields }) => fields['solution'])).toEqual([cat, []]);
  return notes;
};

const utf16 = (text: string): Buffer => Buffer.from(`\ufeff${text}`, 'utf16le');

test.each([
  ['a mark of UTF-8', (text: string) => `\ufeff${text}`],
  ['UTF-16', utf16],
  ['UTF-16 of the other order', (text: string) => utf16(text).swap16()],
])('COCO with %s', async (_, encoded) => {
  await expectCats({ ...pictures, 'labels.json': encoded(cocoOf()) });
});

test('ids that are numbers here and texts there', async () => {
  const set = cocoOf(({ annotations: [cat] }) => void Object.assign(cat!, { image_id: '1', category_id: '1' }));
  await expectCats({ ...pictures, 'labels.json': set });
});

test.each([
  ['case', 'A.JPG', 'a.jpg'],
  ['accents of macOS', 'fée.jpg'.normalize('NFC'), 'fée.jpg'.normalize('NFD')],
  ['%20', 'my%20cat.jpg', 'my cat.jpg'],
])('names of pictures that differ in %s', async (_, written, file) => {
  const set = cocoOf(({ images }) => (images[0]!['file_name'] = written));
  const notes = await expectCats({ [file]: picture, 'b.jpg': other, 'labels.json': set });
  expect(notes.join()).toMatch(/1 images are called a little differently/);
});

test('a box that is there twice counts once, and an id of two pictures is refused', async () => {
  const twice = cocoOf(({ annotations }) => annotations.push({ ...annotations[0] }));
  expect((await expectCats({ ...pictures, 'labels.json': twice })).join()).toContain('1 boxes that are there twice');
  const set = cocoOf(({ images }) => (images[1]!['id'] = 1));
  const { findings } = await rowsOf(folderOf({ ...pictures, 'labels.json': set }));
  expect(findings.map(({ message }) => message)).toEqual([
    'the image b.jpg has the id of a.jpg (1): whose the annotations are cannot be told',
  ]);
});

const yaml = (names = '[cat]', train = 'images'): string => `train: ${train}\nnames: ${names}\n`;
const box = `0 ${45 / width} ${30 / height} ${50 / width} ${40 / height}\n`;
const shown: Files = { 'images/a.jpg': picture, 'images/b.jpg': picture };

test('YOLO: .TXT, UTF-16, what macOS adds, pictures without labels, one name for two classes, one folder for two parts', async () => {
  const labels = { 'labels/a.TXT': utf16(box), 'images/._a.jpg': 'x', 'labels/._a.txt': 'x', '__MACOSX/x.txt': 'x' };
  const notes = await expectCats({ ...shown, ...labels, 'data.yaml': `${yaml('[cat, cat]')}val: images\n` });
  expect(notes.join()).toContain('parts of data.yaml are one folder (images)');
  expect(notes.join()).toMatch(/classes 0 and 1 are one.*cat.*1 of 2 pictures have no file of labels/);
});

const refused: readonly [string, Files, RegExp][] = [
  ['a class without a name', { ...shown, 'labels/a.txt': box, 'data.yaml': yaml('[""]') }, /class 0 has no name/],
  ['another case of folders', { 'Images/a.jpg': picture, 'Labels/a.txt': box, 'data.yaml': yaml() }, /there is Labels/],
  [
    'photographs of a phone',
    { 'images/a.HEIC': 'x', 'labels/a.txt': box, 'data.yaml': yaml() },
    /HEIC.*\n?.*heif-convert/,
  ],
  ['an archive', { 'cats.zip': 'PK' }, /archive[^]*Unpack it first/],
  ['pictures alone', { 'a.jpg': picture }, /1 pictures and no annotations/],
  ['nothing', {}, /directory with nothing in it/],
  ['lists of something', { 'a.jpg': picture, 'a.json': '[1, 2]' }, /not known are a\.json/],
  [
    'the code page of Windows',
    { 'labels.json': Buffer.from(cocoOf().replace('cat', 'b\xe9b\xe9'), 'latin1') },
    /iconv/,
  ],
  [
    'lines in UTF-16',
    { 'a.jpg': picture, 'a.jsonl': utf16(`{"image":"a.jpg","problem":"x","solution":[]}\n`) },
    /UTF-16/,
  ],
];
test.each(refused)('%s: refused with what to do', async (_, files, message) => {
  const error: unknown = await rowsOf(folderOf(files)).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(UserError);
  expect((error as Error).message).toMatch(message);
});

const heic = Buffer.concat([Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'latin1'), Buffer.alloc(4000)]);
const line = (fields: object): string =>
  `${JSON.stringify({ image: 'a.jpg', problem: 'cat', solution: cat, ...fields })}\n`;

test('check: HEIC, nearly black pictures of 16 bits, labels before EXIF turned the picture, a list in place of lines', async () => {
  const messages = async (files: Files): Promise<string> => {
    const { findings } = await checkData(path.join(folderOf(files), 'a.jsonl'));
    return findings.map(({ kind, message }) => `${kind}: ${message}`).join('\n');
  };
  const row = { 'a.jsonl': line({}) };
  expect(await messages({ ...row, 'a.jpg': heic })).toMatch(/image: is HEIC.*heif-convert/);
  const raw = Uint16Array.from({ length: width * height }, (_, i) => i % 4096);
  const depth = { raw: { width, height, channels: 1, depth: 'ushort' } } as const;
  const dark = await sharp(raw, depth as object)
    .toColourspace('grey16')
    .png()
    .toBuffer();
  expect(await messages({ ...row, 'a.jpg': dark })).toMatch(/dark: 1 pictures are nearly black: a\.jpg \(15 of 255/);
  const turned = await sharp(picture).withMetadata({ orientation: 6 }).jpeg().toBuffer();
  const wide = line({ solution: [{ bbox_2d: [60, 10, 110, 70] }] });
  expect(await messages({ 'a.jsonl': wide, 'a.jpg': turned })).toMatch(/outside: .*data import turns its boxes/);
  expect(await messages({ 'a.jsonl': `[${line({}).trim()},\n${line({}).trim()}]` })).toMatch(
    /row: a list of JSON, not lines/,
  );
});

test('a set in which nothing is marked: check says so, and init refuses it', async () => {
  const set = cocoOf(({ annotations }) => (annotations[0]!['image_id'] = 7));
  const folder = folderOf({ ...pictures, 'labels.json': set });
  const lines = Array.from({ length: 4 }, (_, i) => line({ problem: `${i}`, solution: [] })).join('');
  const { findings } = await checkData(path.join(folderOf({ ...pictures, 'a.jsonl': lines }), 'a.jsonl'));
  expect(findings.map(({ kind }) => kind)).toContain('absent');
  const making = makeParts(folder, folderOf({}), { keepsEmpty: false, validation: 0.5, seed: 1 });
  await expect(making).rejects.toThrow(/nothing is marked.*\n.*1 annotations of images that are not listed/);
});

test('init names the lines of the user, not those of a file between', async () => {
  const file = path.join(folderOf({ ...pictures, 'a.jsonl': line({ id: 'x' }) + line({ id: 'x' }) }), 'a.jsonl');
  const making = makeParts(file, folderOf({}), { keepsEmpty: false, validation: 0.5, seed: 1 });
  await expect(making).rejects.toThrow(/a\.jsonl:2 \(id x\): same id as line 1/);
});
