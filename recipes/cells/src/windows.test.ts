import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Random, SIDE, type Corners } from '@visurf/mini-grounding/kit';
import sharp from 'sharp';
import { afterAll, expect, test } from 'vitest';

import { generateWindows, windowsOf, type Line } from './windows.ts';

const folder = mkdtempSync(join(tmpdir(), 'cells-'));
afterAll(() => rmSync(folder, { recursive: true }));

const SPAN = 160;

test('a window holds its platelet whole and no other, or none at all', () => {
  const random = new Random('windows');
  for (let round = 0; round < 200; round++) {
    const platelets = Array.from({ length: random.integer(0, 4) }, (): Corners => {
      const [x, y] = [random.integer(0, 600), random.integer(0, 440)];
      return [x, y, x + random.integer(20, 40), y + random.integer(20, 40)];
    });
    for (const {
      origin: [x, y],
      platelet,
    } of windowsOf(platelets, [640, 480], 2, random)) {
      expect(x >= 0 && y >= 0 && x + SPAN <= 640 && y + SPAN <= 480).toBe(true);
      const met = platelets.filter(([x0, y0, x1, y1]) => x1 > x && x0 < x + SPAN && y1 > y && y0 < y + SPAN);
      expect(met).toEqual(platelet ? [platelet] : []);
      if (platelet)
        expect(platelet[0] >= x && platelet[2] <= x + SPAN && platelet[1] >= y && platelet[3] <= y + SPAN).toBe(true);
    }
  }
});

/** A set as it is published: photographs, a file of boxes for each, lists of its splits. */
async function writeSet(names: Readonly<Record<string, readonly string[]>>): Promise<string> {
  const set = join(folder, 'BCCD');
  for (const each of ['Annotations', 'JPEGImages', 'ImageSets/Main']) mkdirSync(join(set, each), { recursive: true });
  for (const [split, photographs] of Object.entries(names)) {
    writeFileSync(join(set, 'ImageSets/Main', `${split}.txt`), photographs.map((name) => `${name}\n`).join(''));
    for (const name of photographs) {
      const spot = await sharp({ create: { width: 30, height: 30, channels: 3, background: '#8040c0' } })
        .png()
        .toBuffer();
      await sharp({ create: { width: 640, height: 480, channels: 3, background: '#cccccc' } })
        .composite([{ input: spot, left: 300, top: 200 }])
        .jpeg({ quality: 95 })
        .toFile(join(set, 'JPEGImages', `${name}.jpg`));
      const objects = [
        ['Platelets', 300, 200, 330, 230],
        ['RBC', 20, 20, 120, 120],
      ] as const;
      const boxes = objects.map(
        ([label, x0, y0, x1, y1]) =>
          `<object><name>${label}</name><bndbox><xmin>${x0}</xmin><ymin>${y0}</ymin><xmax>${x1}</xmax><ymax>${y1}</ymax></bndbox></object>`,
      );
      writeFileSync(
        join(set, 'Annotations', `${name}.xml`),
        `<annotation><filename>${name}.jpg</filename><size><width>640</width><height>480</height><depth>3</depth></size>${boxes.join('')}</annotation>`,
      );
    }
  }
  return set;
}

test('windows of a set: boxes lie where the platelets are, and no photograph is in two parts', async () => {
  const named = (split: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${split}_${i}`);
  const set = await writeSet({ train: named('a', 9), val: named('b', 2), test: named('c', 1) });
  const output = join(folder, 'data');
  const counts = await generateWindows(set, output);
  expect(counts).toEqual({ train: 7 * 8, validation: 2 * 2, test: 3 * 2 });
  const photographs = new Map<string, string>();
  for (const part of ['train', 'validation', 'test']) {
    const lines = readFileSync(join(output, `${part}.jsonl`), 'utf8')
      .trim()
      .split('\n');
    for (const line of lines.map((text) => JSON.parse(text) as Line)) {
      const photograph = line.id.replace(/-\d+$/, '');
      expect(photographs.get(photograph) ?? part).toBe(part);
      photographs.set(photograph, part);
      expect(line.solution.length).toBe(line.kind === 'present' ? 1 : 0);
      const [box] = line.solution;
      if (!box) continue;
      const [x0, y0, x1, y1] = box.bbox_2d;
      const { data } = await sharp(join(output, line.image)).raw().toBuffer({ resolveWithObject: true });
      const at = 3 * (Math.floor((y0 + y1) / 2) * SIDE + Math.floor((x0 + x1) / 2));
      expect((data[at + 2] ?? 0) - (data[at + 1] ?? 0)).toBeGreaterThan(90);
      expect(Math.abs(x1 - x0 - 21)).toBeLessThanOrEqual(1);
    }
  }
});
