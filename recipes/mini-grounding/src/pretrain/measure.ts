/**
 * What a base model knows before post-training, on scenes of the validation split: `node src/pretrain/measure.ts
 * [directory]` writes it to `measured.json` beside the weights.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Policy, Rollout } from '@visurf/core';
import { evaluatePolicy, Experiment, loadLocalPolicy, logProbs } from '@visurf/core/internals';

import { generateDataset } from '../dataset.ts';
import { PLAN } from './plan.ts';

const IMAGES = 200;
const ATTEMPTS = 16;
const AT_ONCE = 25;
const MAX_NEW_TOKENS = 40;
const EMPTY = '<answer>[]</answer>';

export interface Measured {
  /** sha256 of `config.json`, and of the plan that the weights came from. */
  readonly configHash: string;
  readonly planHash: string;
  readonly weightsHash: string;
  readonly rebuild: { readonly seconds: number; readonly threads: number; readonly cpu: string } | undefined;
  /** Number of those of the validation split, half present, half absent. */
  readonly questions: number;
  /** Greedy answers, in percent. */
  readonly greedy: Readonly<Record<string, number>>;
  /** Share of absent questions, in percent, for which one of 16 samples says `[]`. */
  readonly passAt16Empty: number;
  /** Mean log-probability of the label of absent questions, and of its tokens up to `[` and `]` after it. */
  readonly logProbEmpty: number;
  readonly logProbEmptyByToken: readonly number[];
  /** Shares of samples in percent: with a thought that says where, with a lazy one, with none. */
  readonly thoughts: { readonly careful: number; readonly lazy: number; readonly none: number };
}

const percent = (values: readonly boolean[]): number => (100 * values.filter(Boolean).length) / values.length;
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
const saysEmpty = ({ text }: Rollout): boolean => text.endsWith(EMPTY);

export async function measureBase(directory: string, rebuild?: Measured['rebuild']): Promise<Measured> {
  const data = await mkdtemp(join(tmpdir(), 'mini-base-'));
  try {
    using policy = loadLocalPolicy(directory);
    const images = { train: 0, validation: IMAGES, test: 0 };
    const { validation } = await generateDataset(data, { seed: 0, images });
    return {
      configHash: sha256(await readFile(join(directory, 'config.json'))),
      planHash: sha256(JSON.stringify(PLAN)),
      weightsHash: sha256(await readFile(join(directory, 'model.safetensors'))),
      rebuild,
      ...(await answers(policy, validation)),
    };
  } finally {
    await rm(data, { recursive: true });
  }
}

async function answers(
  policy: Policy,
  file: string,
): Promise<Omit<Measured, 'configHash' | 'planHash' | 'weightsHash' | 'rebuild'>> {
  const { samples, experiment } = await Experiment.open().load(file);
  const { metrics } = await evaluatePolicy(policy, experiment, samples, { maxNewTokens: MAX_NEW_TOKENS });

  const empty: boolean[] = [];
  const byToken: Float64Array[] = [];
  const texts: string[] = [];
  const label = policy.encoder.encodeResponse(EMPTY);
  for (let start = 0; start < samples.length; start += AT_ONCE) {
    const batch = samples.slice(start, start + AT_ONCE);
    const prompts = (await Promise.all(batch.map((sample) => experiment.ask(policy, sample)))).map(
      ({ prompt }) => prompt,
    );
    const groups = await policy.sample(prompts, {
      ...{ temperature: 1, topP: 1, topK: 0, repetitionPenalty: 1 },
      ...{ group: ATTEMPTS, maxNewTokens: MAX_NEW_TOKENS, seed: 0, step: 0 },
      promptIds: batch.map((_, i) => start + i),
    });
    groups.forEach((group, i) => {
      texts.push(...group.map(({ text }) => text));
      const prompt = prompts[i];
      if (batch[i]?.solution !== '[]' || !prompt) return;
      empty.push(group.some(saysEmpty));
      byToken.push(logProbs(policy.model, [{ prompt, responses: [label] }]));
    });
  }
  const isCareful = (text: string): boolean => /^<think>[^<]*\d/.test(text);
  return {
    questions: samples.length,
    greedy: metrics,
    passAt16Empty: percent(empty),
    logProbEmpty: mean(byToken.map((each) => each.reduce((a, b) => a + b, 0))),
    logProbEmptyByToken: label.map((_, t) => mean(byToken.map((each) => each[t] ?? NaN))),
    thoughts: {
      careful: percent(texts.map(isCareful)),
      lazy: percent(texts.map((text) => text.startsWith('<think>') && !isCareful(text))),
      none: percent(texts.map((text) => !text.startsWith('<think>'))),
    },
  };
}

/** Writes `measured.json`. */
export async function writeMeasured(directory: string, rebuild?: Measured['rebuild']): Promise<Measured> {
  const measured = await measureBase(directory, rebuild);
  await writeFile(join(directory, 'measured.json'), `${JSON.stringify(measured, undefined, 2)}\n`);
  return measured;
}

export const thisCpu = (): string => cpus()[0]?.model ?? 'unknown';

if (import.meta.main) {
  const directory = process.argv[2] ?? join(import.meta.dirname, '../../base');
  console.log(JSON.stringify(await writeMeasured(directory), undefined, 2));
}
