/** The recipe's data and settings as a workload for the rival, made by the parts of our own trainer. */
import { isDeepStrictEqual } from 'node:util';
import { optim } from '../packages/torch/src/index.ts';
import { parseConfig } from '../packages/core/src/config/load.ts';
import type { Config } from '../packages/core/src/config/schema.ts';
import { cursorOf } from '../packages/core/src/data/cursor.ts';
import { PromptEncoder } from '../packages/core/src/prompt/encoder.ts';
import { ask } from '../packages/core/src/question/ask.ts';
import { loadData } from '../packages/core/src/question/training.ts';
import { scorerOf, type Scorer } from '../packages/core/src/reward/reward.ts';
import { fillTemplate } from '../packages/core/src/tasks/template.ts';
import type { Sample } from '../packages/core/src/types.ts';
import type { RivalRow, RivalWorkload } from './rival-workload.ts';

/** The rival has code for the defaults of label and objective, and for any clip and normalizer. */
function checkSupported({ paradigm, thinking, label, objective }: Config): void {
  const standard = parseConfig({ model: '', output: '', data: { train: '' }, steps: 1 });
  const fixed = ({ clip: _clip, aggregate: { normalizer: _, ...aggregate }, ...rest }: Config['objective']) => ({
    ...rest,
    aggregate,
  });
  const own = { paradigm, thinking, label, objective: fixed(objective) };
  const known = { paradigm: 'visurf', thinking: 'always', label: standard.label, objective: fixed(standard.objective) };
  if (!isDeepStrictEqual(own, known)) throw new Error(`the rival has no code for ${JSON.stringify(own)}`);
}

export interface Prepared {
  readonly samples: readonly Sample[];
  readonly scorer: Scorer;
  /** Places of the rows' samples in the dataset. */
  readonly indices: readonly number[];
  readonly workload: Omit<RivalWorkload, 'scorer'>;
}

export async function prepareRival(config: Config, output: string): Promise<Prepared> {
  checkSupported(config);
  const { data, task, tasks: others, rollout, objective, optimizer, steps, promptsPerStep, seed } = config;
  const tasks = { ...others, [data.task]: task };
  const { samples, experiment } = await loadData(config);
  const { scorer } = experiment;
  const encoder = PromptEncoder.load(config.model, data);
  const indices = cursorOf(samples, seed).next(steps * promptsPerStep);
  const rows: RivalRow[] = [];
  for (const index of indices) rows.push(await rowOf(samples.at(index)!, encoder, scorer));
  const { thinkingTerm } = scorer.task;
  const workload = {
    ...{ model: config.model, output, seed, rows, steps, promptsPerStep, group: rollout.group },
    ...{ maxNewTokens: rollout.maxNewTokens, forbidden: encoder.forbiddenIds, tasks, weights: scorer.weights },
    ...{ thinkingTerm, clip: objective.clip, normalizer: objective.aggregate.normalizer, optimizer },
    microBatchPrompts: Math.min(config.train.microBatch.prompts, promptsPerStep),
    factors: Array.from({ length: steps }, (_, step) => optim.scheduleFactor(step, steps, optimizer)),
  };
  return { samples: samples.slice(), scorer, indices, workload };
}

async function rowOf(sample: Sample, encoder: PromptEncoder, scorers: Scorer): Promise<RivalRow> {
  const scorer = scorerOf(scorers, sample);
  const { task } = scorer;
  const { prompt, frames, truth } = await ask({ policy: { encoder }, scorer }, sample);
  const { prompt: own } = sample.extra;
  const text = fillTemplate(typeof own === 'string' ? own : task.template, task.variables(sample.problem));
  const labels = Object.fromEntries(task.forms.map((form) => [form.name, form.write(truth, frames)]));
  return { sample, frames, text, promptIds: prompt.inputIds, labels };
}
