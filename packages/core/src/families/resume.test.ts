/** A run of every family that is killed goes on to the same bytes: of all weights, and of adapters of both towers. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { parseConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { readEvents } from '../run/events.ts';
import { configurationNames, openConfiguration } from '../testing/configurations.ts';
import { fixtures } from '../testing/oracle.ts';
import { train } from '../train.ts';
import { loadModelConfig } from './config.ts';
import { families } from './index.ts';

const models = configurationNames.map((name) => openConfiguration(name).model);
const modelOf = (family: string): string => models.find((each) => loadModelConfig(each).family.name === family)!;

function scratch(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-resume-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const lines = ['small-40x40.png', 'flat-90x60.png', 'tall-45x160.png'].map((image, i) => ({
    id: `s${i}`,
    image: path.join(fixtures, 'images', image),
    problem: 'the red circle',
    solution: i === 0 ? [] : [{ bbox_2d: [2 + i, 3, 20, 30] }],
  }));
  writeFileSync(path.join(folder, 'train.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return folder;
}

const config = (folder: string, output: string, model: string, changes: object): Config =>
  parseConfig({
    model,
    output: path.join(folder, output),
    steps: 3,
    promptsPerStep: 2,
    data: { train: path.join(folder, 'train.jsonl'), allowOutside: true, prompt: 'find {Question}' },
    rollout: { group: 2, maxNewTokens: 6 },
    optimizer: { learningRate: 1e-3 },
    checkpoint: { every: 1 },
    ...changes,
  });

/** Everything that the last checkpoint holds of weights and of the optimiser. */
function bytes(run: string): Map<string, string> {
  const last = path.join(run, 'checkpoints', '000003');
  const files = readdirSync(last).filter((file) => file.endsWith('.safetensors'));
  return new Map(files.map((file) => [file, readFileSync(path.join(last, file)).toString('base64')]));
}

const metrics = (run: string): unknown[] =>
  readEvents(path.join(run, 'events.jsonl')).flatMap((event) =>
    event.type === 'step'
      ? [['loss', 'gradientNorm', 'reward', 'labelLogProb'].map((name) => event.metrics[name])]
      : [],
  );

const ways = { 'all weights': {}, adapters: { train: { lora: { rank: 2, alpha: 4, vision: true, dropout: 0.1 } } } };

test.each(families.flatMap(({ name, title }) => Object.keys(ways).map((way) => [title, way, name] as const)))(
  '%s, %s: killed in the middle of a step',
  async (_, way, family) => {
    const folder = scratch();
    const changes = ways[way as keyof typeof ways];
    const open = (output: string, more: object = {}): Config =>
      config(folder, output, modelOf(family), { ...changes, ...more });
    const whole = await train(open('whole'));
    expect(metrics(whole.run).flat().every(Number.isFinite)).toBe(true);
    // The second step is on record, its checkpoint never got there.
    const killed = await train(open('killed', { steps: 2 }));
    rmSync(path.join(killed.run, 'checkpoints', '000002'), { recursive: true });
    await train(open('killed'), { resume: true });
    expect(metrics(killed.run)).toEqual(metrics(whole.run));
    expect(bytes(killed.run).size).toBeGreaterThan(1);
    expect(bytes(killed.run)).toEqual(bytes(whole.run));
  },
);
