import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { expect, onTestFinished, test } from 'vitest';
import type { Benchmark, Item } from './benchmark.ts';
import { loadMirror, mirrorFiles } from './mirror.ts';
import { PIXELS } from './predictions.ts';
import { benchmarkOf } from './registry.ts';

type SchemaElement = NonNullable<Parameters<typeof parquetWriteBuffer>[0]['schema']>[number];

const list = (name: string): SchemaElement[] => [
  { name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
];
const leaf = (name: string, type: SchemaElement['type']): SchemaElement => ({
  name,
  repetition_type: 'OPTIONAL',
  type: type!,
});

const MASKS = [
  [
    [false, true, true],
    [false, true, true],
  ],
  [
    [false, false, false],
    [false, false, false],
  ],
];

/** Two questions of the columns that the mirrors have. */
function mirror(columns: readonly string[]): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-mirror-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const picture = { bytes: Uint8Array.of(1, 2, 3), path: 'a.png' };
  const all: Record<string, { data: unknown[]; schema: SchemaElement[] }> = {
    text: { data: ['The dog?', 'cat'], schema: [{ ...leaf('text', 'BYTE_ARRAY'), converted_type: 'UTF8' }] },
    image: {
      data: [picture, picture],
      schema: [
        { name: 'image', repetition_type: 'OPTIONAL', num_children: 2 },
        leaf('bytes', 'BYTE_ARRAY'),
        { ...leaf('path', 'BYTE_ARRAY'), converted_type: 'UTF8' },
      ],
    },
    mask: { data: MASKS, schema: [...list('mask'), ...list('element'), leaf('element', 'BOOLEAN')] },
    bbox: {
      data: [
        [1n, 0n, 2n, 1n],
        [0n, 0n, 1n, 1n],
      ],
      schema: [...list('bbox'), leaf('element', 'INT64')],
    },
  };
  const chosen = columns.map((name) => ({ name, ...all[name]! }));
  const schema = [{ name: 'root', num_children: chosen.length }, ...chosen.flatMap((each) => each.schema)];
  const bytes = parquetWriteBuffer({
    columnData: chosen.map(({ name, data }) => ({ name, data: data as string[] })),
    schema,
  });
  writeFileSync(path.join(folder, 'test-00000-of-00001.parquet'), new Uint8Array(bytes));
  return folder;
}

async function load(name: string, folder: string): Promise<{ benchmark: Benchmark; items: Item[] }> {
  const benchmark = benchmarkOf(name);
  const files = mirrorFiles(folder, 'val');
  expect(files).toHaveLength(1);
  const items = await loadMirror(files, benchmark, { split: 'val', protocol: 'visurf' }, '/pictures');
  return { benchmark, items };
}

async function mark({ benchmark, items }: { benchmark: Benchmark; items: Item[] }, texts: readonly string[]) {
  const marks = await Promise.all(
    items.map(async ({ truth }, i) => {
      const read = typeof truth === 'function' ? await (truth as () => Promise<unknown>)() : truth;
      return await benchmark.mark({ text: `<answer>${texts[i]}</answer>`, frame: PIXELS }, read, 'visurf');
    }),
  );
  return benchmark.summarise(marks, 'visurf').metrics;
}

const right = ['[{"bbox_2d": [1, 0, 2, 1], "point_2d": [2, 1]}]', '[]'];

test.each([
  ['grefcoco', ['text', 'image', 'mask'], { gIoU: 100, nAcc: 100, boxAccuracy: 100 }],
  ['isic2018', ['text', 'image', 'mask'], { boxAccuracy: 100 }],
  ['realiad', ['text', 'image', 'mask'], { rocAuc: 100 }],
  ['refcoco', ['text', 'image', 'mask', 'bbox'], { gIoU: 100 }],
])('%s from the mirror of the published evaluation', async (name, columns, expected) => {
  const loaded = await load(name, mirror(columns));
  expect(loaded.items.map(({ id, problem, images }) => [id, problem, ...images])).toEqual([
    ['0', 'the dog', '/pictures/0.png'],
    ['1', 'cat', '/pictures/1.png'],
  ]);
  expect(await loaded.items[0]!.picture!()).toEqual(Uint8Array.of(1, 2, 3));
  expect(await mark(loaded, right)).toMatchObject(expected);
});

test('OmniACT has boxes without masks', async () => {
  const loaded = await load('omniact', mirror(['text', 'image', 'bbox']));
  expect(await mark(loaded, ['[{"point_2d": [1, 1]}]', '[{"point_2d": [9, 9]}]'])).toMatchObject({ accuracy: 50 });
});

test('what is not in a mirror is named', async () => {
  await expect(load('grefcoco', mirror(['text', 'mask']))).rejects.toThrow('there is no column "image"');
  await expect(load('pope', mirror(['text', 'image']))).rejects.toThrow('pope is not read from parquet');
  await expect(mark(await load('isic2018', mirror(['text', 'image'])), right)).rejects.toThrow('there is no mask');
  const folder = mirror(['text', 'image']);
  writeFileSync(path.join(folder, 'test-00000-of-00001.parquet'), 'PAR1 what is this PAR1');
  await expect(load('isic2018', folder)).rejects.toThrow('damaged or unreadable parquet');
});
