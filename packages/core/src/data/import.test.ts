import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import sharp from 'sharp';
import { expect, onTestFinished, test } from 'vitest';
import { loadDataset } from './dataset.ts';
import { importData } from './import.ts';
import { lookOf, alikePairs } from './looks.ts';

function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-import-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

const picture = (width = 50, height = 40): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background: '#808080' } })
    .png()
    .toBuffer();

/** A parquet of Seg-Zero's columns with the bytes of pictures. */
function writeParquet(file: string, pictures: readonly Uint8Array[], solutions: readonly string[]): void {
  const text = { type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' } as const;
  const schema = [
    { name: 'root', num_children: 3 },
    { ...text, name: 'problem' },
    { ...text, name: 'solution' },
    { name: 'image', repetition_type: 'OPTIONAL' as const, num_children: 2 },
    { name: 'bytes', type: 'BYTE_ARRAY' as const, repetition_type: 'OPTIONAL' as const },
    { ...text, name: 'path' },
  ];
  const columnData = [
    { name: 'problem', data: pictures.map((_, i) => `thing ${i}`) },
    { name: 'solution', data: [...solutions] },
    { name: 'image', data: pictures.map((bytes) => ({ bytes: new Uint8Array(bytes), path: 'x.png' })) },
  ];
  writeFileSync(file, new Uint8Array(parquetWriteBuffer({ schema, columnData })));
}

test('pictures that a parquet holds stand beside the output, byte for byte', async () => {
  const folder = temporaryFolder();
  const pictures = [await picture(), await picture(60, 30)];
  const source = path.join(folder, 'train.parquet');
  writeParquet(source, pictures, ['<box>(1,2),(10,20)</box><points>(5,6)</points>', '[]']);
  const output = path.join(folder, 'out/train.jsonl');
  expect(await importData(source, { output })).toMatchObject({ format: 'parquet', n: 2, images: 2, leftOut: 0 });
  const samples = await loadDataset(output, { task: 'grounding' });
  expect(samples.map(({ solution }) => solution)).toEqual(['[{"bbox_2d":[1,2,10,20],"point_2d":[5,6]}]', '[]']);
  for (const [i, { images }] of [...samples].entries()) {
    expect(path.relative(folder, path.dirname(images[0]!))).toBe('out/train-images');
    expect(readFileSync(images[0]!).equals(pictures[i]!)).toBe(true);
  }
});

test('nothing is left of an import that fails, and what was there stays', async () => {
  const folder = temporaryFolder();
  const source = path.join(folder, 'train.parquet');
  writeParquet(source, [await picture()], ['<box>(100,200),(300,400)</box>']);
  mkdirSync(path.join(folder, 'kept-images'));
  writeFileSync(path.join(folder, 'kept-images/mine.txt'), '');
  await expect(importData(source, { output: path.join(folder, 'kept.jsonl') })).rejects.toThrow('--units');
  await expect(importData(source, { output: path.join(folder, 'a/b/train.jsonl') })).rejects.toThrow('--units');
  expect(readdirSync(folder).sort()).toEqual(['kept-images', 'train.parquet']);
  expect(existsSync(path.join(folder, 'kept-images/mine.txt'))).toBe(true);
});

test('pictures look alike where few of their places differ', () => {
  const draw = (change: (x: number, y: number) => number) => {
    const data = Uint8Array.from({ length: 68 * 64 * 3 }, (_, i) =>
      change(Math.floor(i / 3) % 68, Math.floor(i / 204)),
    );
    return lookOf({ data, width: 68, height: 64 });
  };
  const waves = (x: number, y: number): number => 128 + 100 * Math.sin(x / 5) * Math.cos(y / 7);
  const looks = new Map([
    ['a', draw(waves)],
    ['brighter', draw((x, y) => waves(x, y) + 9)],
    ['other', draw((x, y) => waves(y + 11, x))],
    ['grey', draw(() => 128)],
    ['grey too', draw(() => 129)],
  ]);
  expect(alikePairs(looks)).toEqual([['a', 'brighter']]);
});

test('whatever differs in at most six bits is found among many, and nothing else, in time that grows with their number', () => {
  let state = 1;
  const random = (below: number): number => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 8) % below;
  const drawn = (): Uint16Array => Uint16Array.from({ length: 16 }, () => random(2 ** 16));
  const looks = new Map(Array.from({ length: 20_000 }, (_, i) => [`${i}`, { hash: `${i}`, bits: drawn(), peak: 255 }]));
  const near = new Map<string, string>();
  for (let i = 0; i < 500; i++) {
    const bits = Uint16Array.from(looks.get(`${i}`)!.bits);
    for (let flips = 0; flips < 1 + (i % 6); flips++) bits[random(16)]! ^= 1 << random(16);
    looks.set(`near ${i}`, { hash: `near ${i}`, bits, peak: 255 });
    near.set(`near ${i}`, `${i}`);
  }
  const pairs = alikePairs(looks);
  expect(new Map(pairs.map(([a, b]) => [b, a]))).toEqual(near);
  const [held, asked] = [new Map([...looks].slice(0, 20_000)), new Map([...looks].slice(20_000))];
  expect(new Map(alikePairs(asked, held).map(([a, b]) => [b, a]))).toEqual(near);
  // Twenty thousand pictures that are all alike are so many pairs, not their square.
  const [first] = looks.values();
  const same = new Map(
    Array.from({ length: 20_000 }, (_, i) => [`${i}`, { hash: `${i}`, bits: first!.bits, peak: 255 }]),
  );
  expect(alikePairs(same)).toHaveLength(19_999);
});
