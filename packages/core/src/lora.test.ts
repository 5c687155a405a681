/** Training with LoRA: what is trained, what a checkpoint holds, resuming, the reference policy, dropout. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { live, SafetensorsFile, scope } from '@visurf/torch';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { parseConfig } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { evaluate } from './evaluate.ts';
import { exportModel } from './export/export.ts';
import { loadModel } from './families/load.ts';
import { addAdapters, adapterParameters, adaptersOf } from './model/lora.ts';
import { loadAdapter } from './model/peft.ts';
import type { VisionLanguageModel } from './model/vlm.ts';
import { loadLocalPolicy } from './policy.ts';
import { readEvents } from './run/events.ts';
import { groupOf } from './testing/groups.ts';
import { fixtures, oracleCases, oraclePrompt, tinyModel } from './testing/oracle.ts';
import { train } from './train.ts';
import type { Group } from './types.ts';
import { makeOptimizer, trainable } from './update/optimizer.ts';
import { updatePolicy } from './update/update.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-lora-'));
  const lines = ['small-40x40.png', 'flat-90x60.png'].flatMap((image, i) =>
    [0, 1].map((j) => ({
      id: `s${i}${j}`,
      image: path.join(fixtures, 'images', image),
      problem: 'the red circle',
      solution: [{ bbox_2d: [2 + i, 3, 20 + j, 30] }],
    })),
  );
  writeFileSync(path.join(folder, 'train.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const config = (output: string, lora: object, overrides: object = {}): Config =>
  parseConfig({
    model: tinyModel,
    output: path.join(folder, output),
    steps: 4,
    promptsPerStep: 2,
    data: { train: path.join(folder, 'train.jsonl'), allowOutside: true, prompt: 'find {Question}' },
    rollout: { group: 2, maxNewTokens: 6 },
    objective: { kl: { coefficient: 0.1, labels: true }, aggregate: { tokens: 'mean' } },
    optimizer: { learningRate: 1e-2 },
    train: { lora: { rank: 4, alpha: 8, ...lora }, microBatch: { prompts: 1 } },
    checkpoint: { every: 2 },
    ...overrides,
  });

const numbers = (output: string): unknown[] =>
  readEvents(path.join(folder, output, 'events.jsonl')).flatMap((event) =>
    event.type === 'step' ? [['loss', 'gradientNorm', 'kl', 'labelLogProb'].map((name) => event.metrics[name])] : [],
  );

const bases = { 'Qwen2.5-VL': tinyModel, 'Qwen3-VL': path.join(fixtures, 'configurations/qwen3_vl-v5/model') };

test.each(Object.entries(bases))(
  '%s: a run trains the adapter, saves it alone, opens again, and resumes to the same numbers, dropout included',
  async (_, model) => {
    const before = live().handles;
    const whole = await train(config('whole', { dropout: 0.2 }, { model }));
    expect(live().handles).toBe(before);
    const kl = numbers('whole').map((each) => (each as number[])[2]!);
    expect(kl.every(Number.isFinite)).toBe(true);
    expect(kl.at(-1)).toBeGreaterThan(0);

    const checkpoint = path.join(whole.run, 'checkpoints', '000004');
    expect(readdirSync(checkpoint).sort()).toEqual(
      [
        'adapter_config.json',
        'adapter_model.safetensors',
        'experiment.json',
        'manifest.json',
        'optimizer.safetensors',
        'state.json',
      ].sort(),
    );
    const described = JSON.parse(readFileSync(path.join(checkpoint, 'adapter_config.json'), 'utf8')) as object;
    const base = path.relative(checkpoint, model);
    expect(described).toMatchObject({ r: 4, lora_alpha: 8, lora_dropout: 0.2, base_model_name_or_path: base });
    {
      using policy = loadLocalPolicy(checkpoint);
      const [first] = adaptersOf(policy.model).values();
      expect(scope(() => first!.B.abs().max().item())).toBeGreaterThan(0);
      // All linear layers of three decoder layers.
      expect(adaptersOf(policy.model).size).toBe(21);
    }
    const evaluated = await evaluate({
      model: checkpoint,
      data: path.join(folder, 'train.jsonl'),
      allowOutside: true,
      output: path.join(folder, 'answers.jsonl'),
      maxNewTokens: 2,
    });
    expect(evaluated.n).toBe(4);

    const stop = new AbortController();
    await train(config('stopped', { dropout: 0.2 }, { model }), {
      signal: stop.signal,
      onEvent: (event) => event.kind === 'step' && event.step === 3 && stop.abort(),
    });
    await train(config('stopped', { dropout: 0.2 }, { model }), { resume: true });
    expect(numbers('stopped')).toEqual(numbers('whole'));
    const weights = (run: string): number[][] => {
      using file = new SafetensorsFile(path.join(folder, run, 'checkpoints/000004/adapter_model.safetensors'));
      return scope(() => file.names.map((name) => file.get(name).toArray()));
    };
    expect(weights('stopped')).toEqual(weights('whole'));
  },
);

test('in bfloat16, with the vision tower, activations computed again', async () => {
  const { train: settings } = config('any', { vision: true, dropout: 0.2 });
  const overrides = { steps: 2, precision: 'bfloat16', train: { ...settings, checkpointActivations: true } };
  await train(config('half', {}, overrides));
  await train(config('full', { vision: true, dropout: 0.2 }, { steps: 2 }));
  using file = new SafetensorsFile(path.join(folder, 'half', 'checkpoints/000002/adapter_model.safetensors'));
  expect(file.names.filter((name) => name.includes('.visual.')).length).toBe(2 * 3 * 5);
  const losses = ['half', 'full'].map((run) => (numbers(run)[0] as number[])[3]!);
  expect(Math.abs(losses[0]! - losses[1]!) / Math.abs(losses[1]!)).toBeLessThan(0.05);
});

test('a base that is saved in bfloat16 stays so in memory, and the run is the same as with float32 weights', async () => {
  const half = path.join(folder, 'base-half');
  const full = path.join(folder, 'base-full');
  {
    using policy = loadLocalPolicy(tinyModel);
    exportModel(policy, half, { dtype: 'bfloat16' });
  }
  {
    using policy = loadLocalPolicy(half);
    exportModel(policy, full, { dtype: 'float32' });
  }
  await train(config('half', {}, { model: half, precision: 'bfloat16' }));
  await train(config('full', {}, { model: full, precision: 'bfloat16' }));
  expect(numbers('half')).toEqual(numbers('full'));
});

test('on a base in four bits: a run resumes to the same numbers, and merging takes the weights of the base', async () => {
  const before = live().handles;
  const settings = { quantize: 'nf4', dropout: 0.2, vision: true };
  const whole = await train(config('whole', settings));
  expect(live().handles).toBe(before);
  const stop = new AbortController();
  await train(config('stopped', settings), {
    signal: stop.signal,
    onEvent: (event) => event.kind === 'step' && event.step === 3 && stop.abort(),
  });
  await train(config('stopped', settings), { resume: true });
  expect(numbers('stopped')).toEqual(numbers('whole'));
  await train(config('full', { ...settings, quantize: undefined }));
  expect(numbers('full')).not.toEqual(numbers('whole'));

  // The adapter's file names the base, and what is merged is what other programs have of the two.
  const checkpoint = path.join(whole.run, 'checkpoints', '000004');
  const written = [undefined, 'nf4' as const].map((quantize) => {
    using policy = loadLocalPolicy(checkpoint, { quantize });
    const directory = path.join(folder, `merged-${quantize ?? 'full'}`);
    exportModel(policy, directory, { merge: true });
    return path.join(directory, 'model.safetensors');
  });
  const [plain, packed] = written.map((file) => {
    using saved = new SafetensorsFile(file);
    return scope(() => new Map(saved.names.map((name) => [name, saved.get(name).toArray()])));
  });
  expect(packed).toEqual(plain);
});

test('bad settings are found before the run begins', async () => {
  await expect(train(config('bad', { targets: ['q_prj'] }))).rejects.toThrow('did you mean q_proj?');
  const model = path.join(fixtures, 'tiny-qwen2_5-vl', 'adapters', 'language');
  await expect(train({ ...config('bad', {}), model })).rejects.toThrow('has another dropout, targets');
  expect(readdirSync(folder).filter((name) => name !== '.visurf-cache')).toEqual(['train.jsonl']);
  expect(() => config('bad', { targets: '(' })).toThrow('is no regular expression');
  expect(() => config('bad', { rnk: 4 })).toThrow('rank');
  expect(() => config('bad', { quantize: 'int4' })).toThrow('nf4');
  expect(() => config('bad', { quantize: 'nf4' }, { precision: 'float64' })).toThrow('go with float32 or bfloat16');
  expect(() => loadLocalPolicy(tinyModel, { quantize: 'nf4', precision: 'float64' })).toThrow('in float32 or bfloat16');
});

test('training goes on with an adapter, towards what it was or towards its base, and resumes to the same numbers', async () => {
  // Without its dropout, which would lie between the adapter and itself.
  const model = path.join(folder, 'adapter');
  cpSync(path.join(fixtures, 'tiny-qwen2_5-vl', 'adapters', 'language'), model, { recursive: true });
  const described = path.join(model, 'adapter_config.json');
  const plain = { ...(JSON.parse(readFileSync(described, 'utf8')) as object), lora_dropout: 0 };
  writeFileSync(described, JSON.stringify({ ...plain, base_model_name_or_path: 'gone/away' }));
  const continued = (output: string, reference?: string): Config => {
    const kl = { coefficient: 0.1, labels: true, ...(reference && { reference }) };
    const objective = { kl, aggregate: { tokens: 'mean' } };
    return config(output, {}, { model, base: tinyModel, objective, train: { microBatch: { prompts: 1 } } });
  };
  const before = live().handles;
  const whole = await train(continued('start'));
  // What other tests left behind may have been collected meanwhile.
  expect(live().handles).toBeLessThanOrEqual(before);
  await train(continued('base', 'base'));
  const kl = (output: string): number => (numbers(output)[0] as number[])[2]!;
  // Nothing lies between an adapter and itself; between it and its base there is much.
  expect(Math.abs(kl('start'))).toBeLessThan(1e-6);
  expect(kl('base')).toBeGreaterThan(0.1);

  using trained = new SafetensorsFile(path.join(whole.run, 'checkpoints/000004/adapter_model.safetensors'));
  using given = new SafetensorsFile(path.join(model, 'adapter_model.safetensors'));
  expect(trained.names).toEqual(given.names);
  const moved = scope(() => given.names.map((name) => trained.get(name).sub(given.get(name)).abs().max().item()));
  expect(Math.min(...moved)).toBeGreaterThan(0);
  expect(Math.max(...moved)).toBeLessThan(0.1);

  const stop = new AbortController();
  await train(continued('stopped'), {
    signal: stop.signal,
    onEvent: (event) => event.kind === 'step' && event.step === 2 && stop.abort(),
  });
  await train(continued('stopped'), { resume: true });
  expect(numbers('stopped')).toEqual(numbers('start'));
});

const group = (j: number): Group => {
  const each = oracleCases[j]!;
  const said = each.responses.map(({ tokens, weight }) => ({ tokens, advantage: weight }));
  return groupOf(each.name, oraclePrompt(each), said, 'member');
};

/** Loss and A, B after one update in float64. */
async function update(
  prepare: (model: VisionLanguageModel) => void,
  options: {
    step?: number;
    places?: number[];
    kl?: number;
    reference?: VisionLanguageModel | 'self';
    train?: object;
  } = {},
): Promise<{ loss: number; weights: number[][] }> {
  const { step = 1, places = [0, 1], kl = 0, reference } = options;
  const model = loadModel(tinyModel, { dtype: 'float64' });
  prepare(model);
  const settings = config(
    'unused',
    {},
    {
      objective: { kl: { coefficient: kl, labels: true } },
      optimizer: { name: 'sgd', learningRate: 1e-3 },
      train: { ...options.train },
    },
  );
  const parameters = trainable(model, settings.train);
  const optimizer = makeOptimizer(parameters, settings.optimizer);
  const learner = { model, reference: reference === 'self' ? model : reference, parameters, optimizer };
  const key = { seed: 5, step, places };
  const { loss } = await updatePolicy(learner, [group(0), group(3)], { rl: 1, sft: 0 }, settings, 1e-3, key);
  const weights = [...adapterParameters(model).values()].map((each) => each.toArray());
  optimizer.dispose();
  model.dispose();
  return { loss, weights };
}

test('the reference policy is the model with its adapter off', async () => {
  const trained = (model: VisionLanguageModel): void =>
    void loadAdapter(model, path.join(fixtures, 'tiny-qwen2_5-vl/adapters/vision'));
  const base = loadModel(tinyModel, { dtype: 'float64' });
  const separate = await update(trained, { kl: 0.3, reference: base });
  const own = await update(trained, { kl: 0.3, reference: 'self' });
  const without = await update(trained);
  expect(own).toEqual(separate);
  expect(Math.abs(own.loss - without.loss)).toBeGreaterThan(1e-3);
  base.dispose();
});

test('dropout: the same for a step, however it is cut and computed; another for another', async () => {
  const adapters = (dropout: number) => (model: VisionLanguageModel) => {
    addAdapters(model, { rank: 2, alpha: 4, dropout, rsLora: false, vision: true }, 7);
    for (const { B } of adaptersOf(model).values()) scope(() => B.detach().fill_(0.05));
  };
  const first = await update(adapters(0.3));
  expect(await update(adapters(0.3))).toEqual(first);
  const distance = async (options: Parameters<typeof update>[1], dropout = 0.3): Promise<number> => {
    const { loss, weights } = await update(adapters(dropout), options);
    const flat = [first.loss, ...first.weights.flat()];
    return [loss, ...weights.flat()].reduce((most, value, i) => Math.max(most, Math.abs(value - flat[i]!)), 0);
  };
  for (const way of [
    { microBatch: { prompts: 1 } },
    { microBatch: { tokens: 100 } },
    { checkpointActivations: true },
    { checkpointActivations: true, offloadActivations: true, microBatch: { prompts: 1 } },
  ])
    expect(await distance({ train: way }), JSON.stringify(way)).toBeLessThan(1e-12);
  expect(await distance({ step: 2 })).toBeGreaterThan(1e-5);
  expect(await distance({ places: [1, 0] })).toBeGreaterThan(1e-5);
  expect(await distance({}, 0)).toBeGreaterThan(1e-5);
});
