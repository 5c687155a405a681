/**
 * Our side of a comparison, driven like the peers (protocol.py): one step per line of input, one line of JSON out.
 *
 *   node bench/ours.ts --kind rlvr|visurf|sft|rollouts --workload FILE --threads N --precision float32|bfloat16
 *                      [--device cuda] [--lora RANK] [--checkpointed]
 *
 * A step is the trainer's own (`trainStep`), with a task whose rewards and labels suit the measurement. Counted: reading,
 * decoding and processing the images (their cache is off), rollouts, rewards, and the update.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { info, setNumThreads, type Device } from '../packages/torch/src/index.ts';
import { featureBytes } from '../packages/core/src/budgets.ts';
import { parseConfig } from '../packages/core/src/config/load.ts';
import type { Config } from '../packages/core/src/config/schema.ts';
import { loadModel } from '../packages/core/src/families/load.ts';
import { FeatureCache } from '../packages/core/src/model/features.ts';
import { isVision } from '../packages/core/src/model/keys.ts';
import { Policy } from '../packages/core/src/policy.ts';
import { PromptEncoder } from '../packages/core/src/prompt/encoder.ts';
import { ask } from '../packages/core/src/question/ask.ts';
import { makeScorer } from '../packages/core/src/reward/reward.ts';
import { respond } from '../packages/core/src/rollout/respond.ts';
import { stepWork, type Paradigm } from '../packages/core/src/schedule/paradigm.ts';
import { trainStep } from '../packages/core/src/step.ts';
import type { Prompt, Rollout } from '../packages/core/src/types.ts';
import { makeOptimizer, trainable } from '../packages/core/src/update/optimizer.ts';
import { measuredSamples, measuringTask } from './task.ts';
import type { Step } from './peer.ts';
import { readWorkload, type Precision, type Workload } from './workloads.ts';

/**
 * Sampling without a stop token: every rollout has exactly `maxNewTokens` tokens. Its text is one character per token,
 * which the reward reads: most ids of a random model have no text.
 */
class EndlessPolicy extends Policy {
  override async sample(prompts: readonly Prompt[], options: Parameters<Policy['sample']>[1]): Promise<Rollout[][]> {
    const { forbiddenIds } = this.encoder;
    const groups = await respond(this.model, prompts, { ...options, stopIds: [], forbiddenIds });
    for (const { tokens } of groups.flat()) this.encoder.decode(tokens);
    return groups.map((group) => group.map((each) => ({ ...each, text: String.fromCodePoint(...each.tokens) })));
  }
}

interface Settings {
  readonly precision: Precision;
  readonly device: Device;
  /** Rank of an adapter that is trained in the weights' place; 0: none. */
  readonly lora: number;
  readonly checkpointActivations: boolean;
}

const configOf = (workload: Workload, paradigm: Paradigm, { precision, ...settings }: Settings): Config =>
  parseConfig({
    model: workload.model,
    output: 'unused',
    data: { train: 'unused' },
    paradigm,
    steps: 1,
    precision,
    promptsPerStep: workload.samples.length,
    rollout: { maxNewTokens: workload.maxNewTokens, ...(paradigm !== 'sft' && { group: workload.group }) },
    // The label keeps its advantage, whatever the rollouts do.
    ...(paradigm === 'visurf' && { label: { align: 'off', smooth: 'off' } }),
    // Supervised batches are small: all at once, as the peer does.
    train: {
      microBatch: { prompts: paradigm === 'sft' ? workload.samples.length : workload.microBatchPrompts },
      checkpointActivations: settings.checkpointActivations,
      ...(settings.lora > 0 && { lora: { rank: settings.lora } }),
    },
  });

type Outcome = Pick<Step, 'seconds' | 'tokens' | 'prefillSeconds'>;

/** @returns a function that does one step, and the length of the prompts */
async function prepare(
  kind: string,
  workload: Workload,
  settings: Settings,
): Promise<{ step: () => Promise<Outcome>; length: number }> {
  const { precision, device, lora } = settings;
  const config = configOf(workload, kind === 'rollouts' ? 'rlvr' : (kind as Paradigm), settings);
  const encoder = PromptEncoder.load(workload.model, { imageCacheBytes: 0 });
  const model = loadModel(workload.model, { device, dtype: lora > 0 && precision === 'bfloat16' ? 'auto' : 'float32' });
  model.precision = precision;
  const policy = new EndlessPolicy(workload.model, model, encoder);
  if (config.train.lora) policy.addAdapter(config.train.lora, 1);
  const scorer = makeScorer(measuringTask(workload));
  const samples = measuredSamples(workload);
  const indices = samples.map((_, i) => i);
  const work = stepWork(config, 1);
  let count = 0;

  const questions = () => Promise.all(samples.map((sample) => ask({ policy, scorer }, sample)));
  const [first] = await questions();
  const length = first?.prompt.inputIds.length ?? 0;

  if (kind === 'rollouts') {
    const step = async (): Promise<Outcome> => {
      const start = performance.now();
      const prompts = (await questions()).map(({ prompt }) => prompt);
      const asked = performance.now();
      let first: number | undefined;
      const onToken = (): void => void (first ??= performance.now());
      const options = { ...config.rollout, seed: 0, step: ++count, promptIds: indices, onToken };
      const groups = await policy.sample(prompts, options);
      const seconds = { prepare: (asked - start) / 1000, generate: (performance.now() - asked) / 1000 };
      const tokens = groups.flat().reduce((sum, each) => sum + each.tokens.length, 0);
      return { seconds, tokens, prefillSeconds: ((first ?? NaN) - asked) / 1000 };
    };
    return { step, length };
  }

  const parameters = trainable(policy.model, config.train);
  // As in a run: of a tower that is not trained, image tokens are remembered; here within a step alone.
  const features = [...parameters.keys()].some(isVision) ? undefined : new FeatureCache(featureBytes);
  policy.model._features = features;
  const optimizer = makeOptimizer(parameters, config.optimizer);
  const learner = { model: policy.model, reference: undefined, parameters, optimizer };
  const step = async (): Promise<Outcome> => {
    features?.clear();
    const result = await trainStep(
      { config, policy, learner, scorer },
      () => ({ samples, indices }),
      ++count,
      work,
      1e-6,
      [],
    );
    const { prompt, rollout, reward, update } = result.seconds;
    const rollouts = result.groups.flatMap((group) => group.rollouts);
    const labels = result.groups.flatMap(({ label }) => label ?? []);
    if ([...labels, ...rollouts].some(({ response }) => response.tokens.length !== workload.maxNewTokens)) {
      throw new Error('responses differ in length: not the work that is to be measured');
    }
    if (result.update.scored !== result.update.responses) {
      throw new Error('a response without advantage was left out: not the work that is to be measured');
    }
    const sampled = rollouts.length * workload.maxNewTokens;
    const trained = samples.length * (length + workload.maxNewTokens);
    return {
      seconds: kind === 'sft' ? { prepare: prompt, update } : { prepare: prompt, generate: rollout, reward, update },
      tokens: kind === 'sft' ? trained : sampled,
    };
  };
  return { step, length };
}

function memory(): { residentMb: number; peakMb: number } {
  const status = readFileSync('/proc/self/status', 'utf8');
  const megabytes = (name: string): number =>
    Math.round((Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024) * 10) / 10;
  return { residentMb: megabytes('VmRSS'), peakMb: megabytes('VmHWM') };
}

const tidy = (_: string, value: unknown): unknown =>
  typeof value === 'number' ? Math.round(value * 1e5) / 1e5 : value;
const answer = (value: object): void =>
  void process.stdout.write(`${JSON.stringify({ ...value, ...memory() }, tidy)}\n`);

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      kind: { type: 'string', default: 'rlvr' },
      workload: { type: 'string', default: '' },
      threads: { type: 'string', default: '1' },
      precision: { type: 'string', default: 'float32' },
      device: { type: 'string', default: 'cpu' },
      lora: { type: 'string', default: '0' },
      checkpointed: { type: 'boolean', default: false },
    },
  });
  const threads = Number(values.threads);
  setNumThreads(threads);
  const { step, length } = await prepare(values.kind, readWorkload(values.workload), {
    precision: values.precision as Precision,
    device: values.device,
    lora: Number(values.lora),
    checkpointActivations: values.checkpointed,
  });
  answer({ ready: true, peer: 'visurf', torch: info().version, threads, kernels: info().kernels });
  for await (const line of createInterface({ input: process.stdin })) {
    if (line !== 'step') break;
    const start = performance.now();
    const before = process.cpuUsage();
    const { seconds, ...counted } = await step();
    const { user, system } = process.cpuUsage(before);
    const total = (performance.now() - start) / 1000;
    answer({ seconds: { ...seconds, total }, cpuSeconds: (user + system) / 1e6, promptTokens: length, ...counted });
  }
}

await main();
