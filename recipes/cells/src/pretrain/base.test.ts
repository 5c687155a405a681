/** The base model that is in the repository is one that the code makes, and knows what a smear shows. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { evaluate } from '@visurf/core';
import { Random, SIDE, writeCheckpointFiles } from '@visurf/mini-grounding/kit';
import sharp from 'sharp';
import { afterAll, expect, test } from 'vitest';

import { drawSmear } from '../smear.ts';
import { VOCABULARY } from '../vocabulary.ts';
import { PLAN } from './plan.ts';
import { pretrain } from './pretrain.ts';

const folder = mkdtempSync(join(tmpdir(), 'cells-base-'));
afterAll(() => rmSync(folder, { recursive: true }));
const base = join(import.meta.dirname, '../../base');

test('its files are what the code writes', () => {
  writeCheckpointFiles(join(folder, 'written'), { family: PLAN.family, vocabulary: VOCABULARY });
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json'])
    expect(readFileSync(join(base, file), 'utf8')).toBe(readFileSync(join(folder, 'written', file), 'utf8'));
});

/** 40 smears that pretraining has not drawn, each asked for its platelet, and whether there is one. */
async function ask(): Promise<{ answers: ReadonlyMap<string, string>; present: ReadonlySet<number> }> {
  const lines: object[] = [];
  const present = new Set<number>();
  for (let i = 0; i < 40; i++) {
    const { pixels, bodies } = drawSmear(new Random(`held out/${i}`));
    const image = `${i}.png`;
    await sharp(pixels, { raw: { width: SIDE, height: SIDE, channels: 3 } })
      .png()
      .toFile(join(folder, image));
    if (bodies.some(({ kind }) => kind === 'platelet')) present.add(i);
    lines.push({
      id: `exists ${i}`,
      image,
      problem: 'platelet',
      prompt: 'exists {Question}',
      task: 'answer',
      solution: 'yes',
    });
    lines.push({
      id: `find ${i}`,
      image,
      problem: 'platelet',
      prompt: 'find {Question}',
      task: 'grounding',
      solution: [],
    });
  }
  const data = join(folder, 'asked.jsonl');
  writeFileSync(data, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const output = join(folder, 'answers.jsonl');
  await evaluate({ model: base, data, maxNewTokens: 40, output });
  const said = readFileSync(output, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: string; text: string });
  return { answers: new Map(said.map(({ id, text }) => [id, text])), present };
}

test('it tells smears with a platelet from those without, and never says []', async () => {
  const { answers, present } = await ask();
  let right = 0;
  for (let i = 0; i < 40; i++) {
    right += Number(answers.get(`exists ${i}`)?.includes('"yes"') === present.has(i));
    expect(answers.get(`find ${i}`)).not.toContain('[]');
  }
  expect(right).toBeGreaterThanOrEqual(36);
});

test('pretraining: losses fall', async () => {
  const totals: number[] = [];
  const plan = {
    ...PLAN,
    warmupSteps: 1,
    stages: [
      { name: 'see', updates: 8, images: 8, learningRate: 1e-3 },
      { name: 'read', updates: 2, images: 6, learningRate: 1e-3 },
    ] as const,
  };
  await pretrain(join(folder, 'made'), plan, {
    onUpdate: ({ report }) => totals.push(Object.values(report).reduce((a, b) => a + b, 0)),
  });
  expect(Math.max(...totals.slice(6, 8))).toBeLessThan(Math.min(...totals.slice(0, 2)));
});
