import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { exportRun, spread } from './export.ts';
import { group, response, sample, startEvent, stepEvent, writeRun } from './testkit.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'studio-export-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('every beginning of the order is spread over all', () => {
  expect(spread([0, 1, 2, 3, 4, 5, 6, 7]).slice(0, 2)).toEqual([0, 4]);
  const rows = Array.from({ length: 1000 }, (_, i) => i);
  expect(spread(rows).toSorted((a, b) => a - b)).toEqual(rows);
});

test('a run as one file: within its limit, saying what it holds, and no text of the model is a script', async () => {
  const run = path.join(folder, 'cars');
  const hostile = '</script><script>alert(1)</script><!--';
  const groups = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [
      i + 1,
      Array.from({ length: 20 }, (_, j) => ({
        ...group(i + 1, `car ${i} ${j}`, [0, 3], { active: true }),
        rollouts: [{ ...response(0, { text: hostile.repeat(40) }), masked: false }],
      })),
    ]),
  );
  await writeRun(run, { events: [startEvent(), stepEvent(1)], groups, samples: [sample('car 0 0')] });
  const output = path.join(folder, 'cars.html');
  const all = await exportRun(run, { output });
  expect(all).toMatchObject({ groups: 800, total: 800, bytes: statSync(output).size });
  const html = readFileSync(output, 'utf8');
  expect(html).toContain('holds 800 of 800 groups');
  expect(html).not.toContain('<script>alert');
  const few = await exportRun(run, { output, largest: 1_500_000 });
  expect(few.bytes).toBeLessThan(1_500_000);
  expect(few.groups).toBeGreaterThan(20);
  expect(few.groups).toBeLessThan(800);
  expect(readFileSync(output, 'utf8')).toContain(`holds ${few.groups} of 800 groups`);
});

test('no run, no file', async () => {
  await expect(exportRun(folder, { output: path.join(folder, 'x.html') })).resolves.toBeDefined();
  await expect(exportRun(path.join(folder, 'cars/groups'), { output: path.join(folder, 'y.html') })).rejects.toThrow(
    'there is no run here',
  );
});
