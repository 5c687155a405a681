/**
 * Windows of photographs of blood as a dataset: each shows one platelet, or none. A window is 160 x 160 pixels of a
 * photograph, as 112 x 112; one that cuts a platelet is never taken. No photograph is in two parts.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { importData } from '@visurf/core';
import { DatasetFiles, imagePath, Random, SIDE, type Corners, type FileOptions } from '@visurf/mini-grounding/kit';
import sharp from 'sharp';

/** Pixels of a photograph that a window spans. */
const SPAN = 160;
const PLATELETS = 'Platelets';
/** Tries to place a window. */
const PLACINGS = 50;
/** Every so many photographs of the set's training split are for validation. */
const VALIDATION = 8;

interface Photograph {
  readonly name: string;
  readonly file: string;
  readonly platelets: readonly Corners[];
}

export interface Line {
  readonly id: string;
  readonly image: string;
  readonly problem: 'platelet';
  readonly solution: readonly { readonly bbox_2d: Corners }[];
  readonly kind: 'present' | 'absent';
}

export type Part = 'train' | 'validation' | 'test';
type Origin = readonly [number, number];

/** The photographs of splits of a set in Pascal VOC's layout, by name; those whose platelets are not all known are left out. */
async function photographs(set: string, splits: readonly string[]): Promise<Photograph[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cells-'));
  try {
    const found: Photograph[] = [];
    for (const split of splits) {
      const output = path.join(folder, `${split}.jsonl`);
      await importData(set, { output, format: 'voc', split, ask: ['find'] });
      for (const line of (await readFile(output, 'utf8')).split('\n')) {
        if (line === '') continue;
        const row = JSON.parse(line) as { image: string; class: string; solution: readonly { bbox_2d: Corners }[] };
        if (row.class !== PLATELETS) continue;
        const file = path.resolve(folder, row.image);
        found.push({ name: path.parse(file).name, file, platelets: row.solution.map((each) => each.bbox_2d) });
      }
    }
    return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const meets = ([x0, y0, x1, y1]: Corners, [x, y]: Origin): boolean =>
  x1 > x && x0 < x + SPAN && y1 > y && y0 < y + SPAN;
const holds = ([x0, y0, x1, y1]: Corners, [x, y]: Origin): boolean =>
  x0 >= x && x1 <= x + SPAN && y0 >= y && y1 <= y + SPAN;

interface Window {
  readonly origin: Origin;
  readonly platelet: Corners | undefined;
}

/**
 * Up to `each` windows around every platelet, and as many without one; at least one without where there is none.
 * @param size width and height of the photograph
 */
export function windowsOf(
  platelets: readonly Corners[],
  size: readonly [number, number],
  each: number,
  random: Random,
): Window[] {
  const place = (platelet?: Corners): Window[] => {
    for (let tries = 0; tries < PLACINGS; tries++) {
      const [x, y] = size.map((side, axis) => {
        const [first, last] = [platelet?.[axis] ?? side, platelet?.[axis + 2] ?? 0];
        const [least, most] = [Math.max(0, last - SPAN), Math.min(side - SPAN, first)];
        return least <= most ? random.integer(least, most) : -1;
      }) as [number, number];
      if (x < 0 || y < 0) return [];
      const origin = [x, y] as const;
      const others = platelets.filter((other) => other !== platelet);
      if (!others.some((other) => meets(other, origin)) && (!platelet || holds(platelet, origin)))
        return [{ origin, platelet }];
    }
    return [];
  };
  const times = (count: number, platelet?: Corners): Window[] =>
    Array.from({ length: count }, () => place(platelet)).flat();
  const present = platelets.flatMap((platelet) => times(each, platelet));
  return [...present, ...times(Math.max(1, present.length))];
}

/** `train.jsonl`, `validation.jsonl` and `test.jsonl` in a folder, with their pictures. @returns lines by part */
export async function generateWindows(
  set: string,
  output: string,
  options: FileOptions = {},
): Promise<Record<Part, number>> {
  const learning = await photographs(set, ['train']);
  const parts: Record<Part, readonly Photograph[]> = {
    train: learning.filter((_, i) => i % VALIDATION !== 0),
    validation: learning.filter((_, i) => i % VALIDATION === 0),
    test: await photographs(set, ['val', 'test']),
  };
  const total = learning.length + parts.test.length;
  const files = new DatasetFiles(output, total, options);
  const counts = { train: 0, validation: 0, test: 0 };
  for (const part of ['train', 'validation', 'test'] as const) {
    const drawn: { name: string; pixels: Uint8Array; lines: Line[] }[] = [];
    for (const photograph of parts[part]) drawn.push(...(await cut(photograph, part)));
    counts[part] = drawn.length;
    await files.write(part, drawn.length, (number) => drawn[number]!);
  }
  return counts;
}

async function cut({ name, file, platelets }: Photograph, part: Part) {
  const photograph = sharp(file);
  const { width, height } = await photograph.metadata();
  const random = new Random(`windows/${name}`);
  const windows = windowsOf(platelets, [width, height], part === 'train' ? 4 : 1, random);
  return Promise.all(
    windows.map(async ({ origin: [left, top], platelet }, i) => {
      const pixels = await sharp(file)
        .removeAlpha()
        .extract({ left, top, width: SPAN, height: SPAN })
        .resize(SIDE, SIDE)
        .raw()
        .toBuffer();
      const scaled = platelet?.map((at, axis) => Math.round(((at - (axis % 2 === 0 ? left : top)) * SIDE) / SPAN));
      const id = `${name}-${i}`;
      const line: Line = {
        ...{ id, image: imagePath(id), problem: 'platelet' },
        solution: scaled ? [{ bbox_2d: scaled as unknown as Corners }] : [],
        kind: platelet ? 'present' : 'absent',
      };
      return { name: id, pixels: new Uint8Array(pixels), lines: [line] };
    }),
  );
}
