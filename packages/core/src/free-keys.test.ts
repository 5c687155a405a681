/** Keys that are said to change no step that is to come: a run that goes on with another value of each makes the same ones. */
import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LEAVES } from './config/keys.ts';
import { parseConfig } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { readEvents } from './run/events.ts';
import { fixtures, tinyModel } from './testing/oracle.ts';
import { train } from './train.ts';

const STEPS = 3;

/** Another value than the run was begun with; a run that has another `output` is moved in any case. */
const OTHERS: Readonly<Record<string, unknown>> = {
  output: 'moved',
  steps: STEPS + 1,
  'data.allowOutside': true,
  'data.maxImagePixels': 1_000_000,
  'reward.seconds': 60,
  'reward.retries': 2,
  'reward.onFailure': 'skip',
  'reward.processes': 1,
  'distributed.timeout': 60,
  'eval.every': 1,
  'eval.patience': 3,
  'eval.limit': 1,
  'eval.maxNewTokens': 3,
  'record.tokens': 'all',
  'record.images': 'none',
  'checkpoint.every': 2,
  'checkpoint.keep': 5,
};
/** What takes more than this: two threads may differ in the last bits; servers, cards and plugins. */
const ELSEWHERE =
  'threads plugins epochs train.offloadActivations rollout.servers rollout.serverCommand rollout.serverFolder ' +
  'rollout.timeout rollout.concurrent';

const folder = mkdtempSync(path.join(tmpdir(), 'visurf-free-'));
afterAll(() => rmSync(folder, { recursive: true }));

function configOf(output: string, key = '', value?: unknown): Config {
  const written: Record<string, unknown> = {
    ...{ model: tinyModel, output: path.join(folder, output), steps: STEPS, promptsPerStep: 1 },
    data: { train: path.join(folder, 'train.jsonl'), validation: path.join(folder, 'train.jsonl') },
    rollout: { group: 2, maxNewTokens: 6 },
    optimizer: { learningRate: 1e-3 },
    eval: { every: 2, limit: 2 },
    checkpoint: { every: 1 },
  };
  const [section = '', name] = key.split('.');
  if (name !== undefined) written[section] = { ...(written[section] as object | undefined), [name]: value };
  else if (key !== '' && key !== 'output') written[key] = value;
  return parseConfig(written);
}

/** What the steps were, and the weights after the last. */
function madeBy(output: string): unknown {
  const run = path.join(folder, output);
  const steps = readEvents(path.join(run, 'events.jsonl')).flatMap((event) =>
    event.type === 'step' && event.step <= STEPS ? [event.metrics] : [],
  );
  const weights = readFileSync(path.join(run, `checkpoints/00000${STEPS}/model.safetensors`)).toString('base64');
  return { steps, weights };
}

let expected: unknown;
beforeAll(async () => {
  const images = ['small-40x40.png', 'flat-90x60.png'];
  for (const image of images) copyFileSync(path.join(fixtures, 'images', image), path.join(folder, image));
  const lines = images.map((image, i) => ({
    id: `s${i}`,
    image,
    problem: 'x',
    solution: [{ bbox_2d: [2, 3, 20, 30] }],
  }));
  writeFileSync(path.join(folder, 'train.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  await train(configOf('whole'));
  expected = madeBy('whole');
  const stop = new AbortController();
  const onEvent = ({ kind }: { kind: string }): void => {
    if (kind === 'step') stop.abort();
  };
  await train(configOf('begun'), { signal: stop.signal, onEvent });
});

test('every such key is tried, here or where it can be', () => {
  const free = LEAVES.flatMap(({ key, effect }) => (effect === 'harmless' ? [key] : []));
  expect([...Object.keys(OTHERS), ...ELSEWHERE.split(' ')].toSorted()).toEqual(free.toSorted());
});

test('another course would be seen', async () => {
  await train(configOf('other', 'optimizer', { learningRate: 2e-3 }));
  expect(madeBy('other')).not.toEqual(expected);
});

test.each(Object.entries(OTHERS))('%s', async (key, value) => {
  cpSync(path.join(folder, 'begun'), path.join(folder, key), { recursive: true, verbatimSymlinks: true });
  await train(configOf(key, key, value), { resume: true });
  expect(madeBy(key)).toEqual(expected);
});
