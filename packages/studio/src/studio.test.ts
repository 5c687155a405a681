import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { Studio } from './studio.ts';
import { eventLines, startEvent, stepEvent } from './testkit.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'studio-news-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('steps that follow each other fast are told together, and the last one, too', async () => {
  const file = path.join(folder, 'events.jsonl');
  writeFileSync(file, eventLines([startEvent()]));
  const studio = new Studio([folder]);
  const told: string[] = [];
  studio.watch((changed) => told.push(...changed.map(({ version }) => version)));
  studio.start();
  const STEPS = 20;
  const started = performance.now();
  for (let step = 1; step <= STEPS; step++) {
    appendFileSync(file, eventLines([stepEvent(step)]));
    await setTimeout(100);
  }
  await expect.poll(() => told.at(-1), { timeout: 5_000 }).toBe(studio.runs()[0]!.version);
  expect(studio.runs()[0]!.events).toHaveLength(1 + STEPS);
  // At most every 0.75 s, the first and the last beside.
  expect(told.length).toBeLessThanOrEqual(2 + (performance.now() - started) / 750);
  await studio.close();
});
