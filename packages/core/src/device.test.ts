/** Steps on a device that is not the CPU: nothing lies elsewhere, and every kernel is one that CUDA has. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { noGrad, scope, tensor } from '@visurf/torch';
import { standInDevice } from '@visurf/torch/testing';
import { describe, expect, onTestFinished, test } from 'vitest';

import type { Config } from './config/schema.ts';
import { deviceIn, resolveDevice } from './device.ts';
import { UserError } from './errors.ts';
import { families } from './families/index.ts';
import { modelFiles } from './export/huggingface.ts';
import { loadModel } from './families/load.ts';
import { adapterParameters, addAdapters } from './model/lora.ts';
import { adapterFiles, keepStart, loadAdapter } from './model/peft.ts';
import { Policy } from './policy.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import { respond } from './rollout/respond.ts';
import { greedy } from './rollout/sampler.ts';
import { configurationNames, openConfiguration } from './testing/configurations.ts';
import { tinyModel } from './testing/oracle.ts';
import { openSubject } from './testing/parity.ts';
import { smallModel, variants, wholeStep } from './testing/whole-step.ts';
import { makeOptimizer, trainable } from './update/optimizer.ts';
import { logProbs } from './update/log-probs.ts';

const device = standInDevice();
const asked = new Set<string>();
const adamw = {
  name: 'adamw',
  learningRate: 1e-3,
  betas: [0.9, 0.99],
  weightDecay: 0,
} as unknown as Config['optimizer'];
describe.each(families)('$title', (family) => {
  const model = smallModel(family);

  // A frozen tower is asked for all images at once there, and for one after the other on the CPU.
  test.each(['plain', 'frozen tower'])('%s: has the numbers of the CPU', async (name) => {
    const variant = variants[name]!;
    const [here, there] = [
      await wholeStep(model, 'cpu', variant, { dtype: 'float64' }),
      await wholeStep(model, device, variant, { dtype: 'float64', asked }),
    ];
    const said = ({ groups }: typeof here) =>
      groups.map(({ rollouts }) => rollouts.map(({ response }) => response.tokens));
    expect(said(there)).toEqual(said(here));
    expect(there.update.loss).toBeCloseTo(here.update.loss, 10);
    expect(there.update.gradientNorm).toBeCloseTo(here.update.gradientNorm, 10);
    for (const [key, values] of Object.entries(here.parameters)) {
      const distance = values.map((value, i) => Math.abs(value - there.parameters[key]![i]!));
      expect(Math.max(...distance), key).toBeLessThan(1e-7);
    }
  });

  test('streams that wait on the host change no bit', async () => {
    const [kept, away] = [
      await wholeStep(model, device, variants['recomputed']!),
      await wholeStep(model, device, variants['offloaded']!),
    ];
    expect(away.update.loss).toBe(kept.update.loss);
    expect(away.parameters).toEqual(kept.parameters);
  });

  test.each(Object.entries(variants))('%s: every operand lies there', async (_, variant) => {
    const { update } = await wholeStep(model, device, variant, { asked });
    expect(update.loss).toBeTypeOf('number');
    expect(update.gradientNorm).toBeGreaterThan(0);
  });
});

describe.each(configurationNames)('%s', (name) => {
  test('images, videos and text: log-probabilities and greedy answers are those of the CPU', async () => {
    const { configuration, prompts } = await openSubject(openConfiguration(name));
    const found = [];
    for (const each of ['cpu', device]) {
      const model = loadModel(configuration.model, { device: each, dtype: 'float64' });
      const items = prompts.map((prompt, i) => ({
        prompt,
        responses: configuration.cases[i]!.responses.map(({ tokens }) => tokens),
      }));
      const sampling = { ...greedy, repetitionPenalty: 1.1, group: 1, maxNewTokens: 4, seed: 1, step: 0 };
      const ids = { stopIds: [], forbiddenIds: [], promptIds: prompts.map((_, i) => i) };
      const answers = await respond(model, prompts, { ...sampling, ...ids });
      found.push({ scores: logProbs(model, items), answers: answers.flat().map(({ tokens }) => tokens) });
      model.dispose();
    }
    const [here, there] = found as [(typeof found)[0], (typeof found)[0]];
    expect(there.answers).toEqual(here.answers);
    expect(Math.max(...here.scores.map((value, i) => Math.abs(value - there.scores[i]!)))).toBeLessThan(1e-9);
  });
});

test('checkpoints and adapters that are written there are read here, and the other way round', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-device-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const settings = { rank: 2, alpha: 4, dropout: 0, rsLora: false, vision: true };
  const write = (files: Record<string, (file: string) => void>, name: string): string => {
    const directory = path.join(folder, name);
    mkdirSync(directory);
    for (const [file, make] of Object.entries(files)) make(path.join(directory, file));
    return directory;
  };
  for (const [from, to] of [
    [device, 'cpu'],
    ['cpu', device],
  ] as const) {
    using first = new Policy(tinyModel, loadModel(tinyModel, { device: from }), PromptEncoder.load(tinyModel));
    const whole = write(modelFiles(first.model, tinyModel), `whole-${to}`);
    first.addAdapter(settings, 3);
    const adapter = write(adapterFiles(first.model, first.peft!), `adapter-${to}`);
    using second = new Policy(whole, loadModel(whole, { device: to }), first.encoder);
    loadAdapter(second.model, adapter);
    keepStart(second.model, adapter);
    expect(second.model.device).toBe(to);
    const [mine, theirs] = [first.model.namedParameters(), second.model.namedParameters()];
    expect([...theirs.keys()]).toEqual([...mine.keys()]);
    for (const [key, each] of theirs) expect(each.toArray(), key).toEqual(mine.get(key)!.toArray());
    const state = makeOptimizer(trainable(first.model, { freezeVision: false }), adamw);
    makeOptimizer(trainable(second.model, { freezeVision: false }), adamw).loadState(state.state());
  }
});

test('layers with adapters have the numbers of the CPU, one by one and joined', async () => {
  const { configuration, prompts } = await openSubject(openConfiguration('qwen2_5-hub'));
  const items = prompts.map((prompt, i) => ({
    prompt,
    responses: configuration.cases[i]!.responses.map(({ tokens }) => tokens),
  }));
  const [here, there] = ['cpu' as const, device].map((each) => {
    const model = loadModel(configuration.model, { device: each, dtype: 'float64' });
    addAdapters(model, { rank: 3, alpha: 5, dropout: 0, rsLora: false, vision: true }, 7);
    for (const [key, factor] of adapterParameters(model)) {
      if (!key.includes('lora_B')) continue;
      const values = Float64Array.from({ length: factor.numel }, (_, i) => Math.sin(i + 1) / 10);
      noGrad(() => factor.copy_(tensor(values, { shape: factor.shape })));
    }
    const adapted = logProbs(model, items);
    const graph = scope(() => model.score(model.hidden(items).hidden, model.hidden(items).targets).logProbs);
    model.dispose();
    return [adapted, graph] as const;
  });
  const apart = (a: Float64Array, b: Float64Array) => Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));
  expect(apart(here![0], there![0])).toBeLessThan(1e-9);
  expect(apart(there![0], there![1])).toBeLessThan(1e-9);
});

/** Made by oracle/cuda_operators.py from the dispatch tables of a CUDA build. */
const table = JSON.parse(readFileSync(new URL('testing/cuda-operators.json', import.meta.url), 'utf8')) as {
  readonly operators: Readonly<Record<string, 'CUDA' | 'composite' | 'ours' | 'none'>>;
};

test('libtorch has a kernel for CUDA, or a composition of such, for everything that a step asks for', () => {
  // Pictures are resized on the host.
  const onHost = ['_upsample_lanczos2d_aa'];
  const wanted = [...asked].sort().filter((name) => !onHost.includes(name));
  expect(wanted.length).toBeGreaterThan(100);
  expect(wanted.filter((name) => table.operators[name] === undefined)).toEqual([]);
  expect(wanted.filter((name) => table.operators[name] === 'none')).toEqual([]);
});

describe('names', () => {
  test.each([
    ['cpu', 0, 'cpu'],
    ['cpu', 2, 'cpu'],
    ['auto', 0, 'cpu'],
    ['auto', 1, 'cuda'],
    ['cuda', 1, 'cuda'],
    ['cuda:1', 2, 'cuda:1'],
  ])('%s with %d GPUs is %s', (name, count, expected) => expect(resolveDevice(name, count)).toBe(expected));

  test.each([
    ['cuda', 0, 'no CUDA GPU'],
    ['cuda:0', 0, 'no CUDA GPU'],
    ['cuda:2', 2, 'no such GPU'],
    ...['', 'gpu', 'CUDA', 'cuda:', 'cuda:-1', 'cuda:1.5', 'cuda:01', ' cpu', 'cpu\n', 'meta', 'stand_in:0'].map(
      (name): [string, number, string] => [name, 4, 'cpu, cuda, cuda:N, auto'],
    ),
  ])('%j with %d GPUs is refused', (name, count, message) => {
    expect(() => resolveDevice(name, count)).toThrow(UserError);
    expect(() => resolveDevice(name, count)).toThrow(message);
  });
});

describe('of several processes each takes a GPU of its own', () => {
  const world = { ...{ rank: 5, size: 8, localRank: 1, localSize: 4 }, ...{ address: 'a', port: 1 } };

  test.each([
    [world, 'cuda', 4, 'cuda:1'],
    [world, 'auto', 4, 'cuda:1'],
    [world, 'auto', 0, 'cpu'],
    [world, 'cpu', 4, 'cpu'],
    [undefined, 'cuda', 4, 'cuda'],
    [{ ...world, localRank: undefined, localSize: undefined }, 'cuda', 4, 'cuda:1'],
    [{ ...world, localRank: undefined, localSize: undefined }, 'cuda', 1, 'cuda:0'],
  ])('%j, %s of %i: %s', (place, name, count, device) => {
    expect(deviceIn(place, name, count, false)).toBe(device);
  });

  test('a scheduler may show each its own alone', () => {
    expect(deviceIn(world, 'cuda', 1, true)).toBe('cuda:0');
  });

  test.each([
    ['cuda', 2, '4 processes on this machine, and 2 GPUs'],
    ['cuda', 1, '4 processes on this machine, and 1 GPU'],
    ['cuda:1', 4, 'device cuda:1 is one GPU, for 4 processes'],
    ['cuda', 0, 'libtorch finds no CUDA GPU here'],
  ])('%s of %i is refused', (name, count, message) => {
    expect(() => deviceIn(world, name, count, false)).toThrow(message);
  });
});
