/**
 * A small checkpoint of every family is trained until it answers as its labels say: data, labels and metrics are in pixels
 * of the pictures, whatever coordinates the family speaks.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { parseConfig } from './config/load.ts';
import { evaluate } from './evaluate.ts';
import { loadModelConfig } from './families/config.ts';
import { readEvents } from './run/events.ts';
import { openConfiguration } from './testing/configurations.ts';
import { fixtures } from './testing/oracle.ts';
import { train } from './train.ts';

const boxes = { 'wide-150x62.png': [12, 6, 48, 50], 'tall-45x160.png': [4, 20, 40, 90] };

test.each(['qwen2-v5', 'qwen2_5-v5', 'qwen3_vl-nested', 'qwen3_vl-v5'])('%s', async (name) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-learns-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const { model } = openConfiguration(name);
  const data = path.join(folder, 'train.jsonl');
  const lines = Object.entries(boxes).map(([image, box]) => {
    const sample = {
      id: image,
      image: path.join(fixtures, 'images', image),
      problem: 'it',
      solution: [{ bbox_2d: box }],
    };
    return JSON.stringify({ ...sample, thinking: 'look' });
  });
  writeFileSync(data, lines.join('\n'));
  const config = parseConfig({
    ...{ model, output: path.join(folder, 'run'), paradigm: 'sft', steps: 120, promptsPerStep: 2 },
    data: { train: data, prompt: 'find {Question}', allowOutside: true },
    optimizer: { learningRate: 8e-3, weightDecay: 0 },
    label: { align: 'off' },
    checkpoint: { every: 120, keep: 1 },
  });
  const { run } = await train(config);
  const losses = readEvents(path.join(run, 'events.jsonl')).flatMap((each) => (each.type === 'step' ? [each.metrics['loss']!] : [])); // prettier-ignore
  expect(losses.at(-1)).toBeLessThan(losses[0]! / 20);
  const output = path.join(folder, 'answers.jsonl');
  const { metrics } = await evaluate({ model: path.join(run, 'checkpoints', '000120'), data, allowOutside: true, maxNewTokens: 60, output }); // prettier-ignore
  expect(metrics['gIoU']).toBeGreaterThan(90);
  expect(metrics['thinking']).toBe(100);
  const said = readFileSync(output, 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { text: string }).text);
  const thousandths = loadModelConfig(model).family.coordinates === 'thousandths';
  // The wide picture is 150 pixels wide; in pixels of the resized image its right edge lies elsewhere.
  expect(said.some((text) => text.includes(String(Math.round((48 / 150) * 1000))))).toBe(thousandths);
});
