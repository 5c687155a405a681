import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, expect, test } from 'vitest';
import { SampleLog, type Asked, type ImageRecord, type SampleRecord } from './samples.ts';

const root = mkdtempSync(path.join(tmpdir(), 'visurf-samples-'));
afterAll(() => rmSync(root, { recursive: true }));

const wide = path.join(root, 'wide.jpg');
const pixels = { create: { width: 1200, height: 600, channels: 3, background: '#c04020' } } as const;
/** As a camera held upright: EXIF says that it is turned. */
await sharp(pixels).withMetadata({ orientation: 6 }).jpeg().toFile(wide);
const copy = path.join(root, 'copy.jpg');
writeFileSync(copy, readFileSync(wide));

const frame = { width: 600, height: 1200, modelWidth: 1, modelHeight: 1 };
const asked = (id: string, images: string[]): Asked => ({
  sample: { id, images, problem: 'p', solution: '[]', task: 'click', extra: {}, source: { file: 'f', line: 1 } },
  ...{ rendered: 'rendered', frames: images.map(() => frame), boxes: [[1, 2, 3, 4]], points: [] },
});

async function logged(images: ImageRecord, all: readonly Asked[]) {
  const directory = mkdtempSync(path.join(root, 'run-'));
  const records: SampleRecord[] = [];
  const wrote: string[] = [];
  const place = {
    directory,
    append: (each: SampleRecord) => records.push(each),
    wrote: (file: string) => wrote.push(file),
  };
  await new SampleLog(place, images).add(all);
  return { directory, records, wrote };
}

test('a sample is noted with what was asked, and pictures by their content, small and upright', async () => {
  const { directory, records, wrote } = await logged('thumbnails', [
    asked('a', [wide, copy]),
    asked('b', []),
    asked('a', []),
  ]);
  expect(records.map(({ id }) => id)).toEqual(['a', 'b']);
  const [{ images, ...rest }] = records as [SampleRecord];
  expect(rest).toEqual({
    id: 'a',
    problem: 'p',
    task: 'click',
    prompt: 'rendered',
    solution: '[]',
    boxes: [[1, 2, 3, 4]],
    points: [],
  });
  expect(images[0]).toMatchObject({
    path: expect.stringMatching(/^images\/[0-9a-f]{32}\.webp$/) as string,
    width: 600,
    height: 1200,
  });
  expect(images[1]).toEqual(images[0]);
  expect(readdirSync(path.join(directory, 'images'))).toHaveLength(1);
  const file = path.join(directory, images[0]!.path!);
  expect(new Set(wrote)).toEqual(new Set([file]));
  const { format, width, height } = await sharp(file).metadata();
  expect([format, width, height]).toEqual(['webp', 256, 512]);
});

test('copies have their own size; none has no path; what cannot be read is left out', async () => {
  const { directory, records } = await logged('copies', [
    asked('a', [wide]),
    asked('b', ['/nowhere.png']),
    asked('c', [import.meta.filename]),
  ]);
  const { width, height } = await sharp(path.join(directory, records[0]!.images[0]!.path!)).metadata();
  expect([width, height]).toEqual([600, 1200]);
  expect(records.slice(1).map(({ images }) => images[0]!.path)).toEqual([undefined, undefined]);
  const none = await logged('none', [asked('a', [wide])]);
  expect(none.records[0]!.images).toEqual([{ path: undefined, width: 600, height: 1200 }]);
  expect(readdirSync(none.directory)).toEqual([]);
});

test('a run that goes on knows what it noted', async () => {
  const { directory, records } = await logged('none', []);
  writeFileSync(path.join(directory, 'samples.jsonl'), '{"id":"a"}\nnonsense\n{"id":"b"}\n{"id":"c');
  const append = (each: SampleRecord) => records.push(each);
  await new SampleLog({ directory, append, wrote: () => undefined }, 'none').add(
    ['a', 'b', 'c'].map((id) => asked(id, [])),
  );
  expect(records.map(({ id }) => id)).toEqual(['c']);
});
