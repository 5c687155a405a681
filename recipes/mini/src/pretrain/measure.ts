/**
 * What a base model knows before post-training, on the validation split: `node src/pretrain/measure.ts [NAME]` writes it
 * to `measured.json` beside the weights.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import type { Policy, Rollout, Sample } from '@visurf/core';
import { evaluatePolicy, Experiment, loadLocalPolicy, logProbs, type Question, scorerOf } from '@visurf/core/internals';

import { generateSuite } from '../dataset.ts';
import { TASK_SETS, type SetName } from '../questions.ts';
import { isBaseName, planOf, type BaseName } from './plan.ts';

const PICTURES = 100;
const ATTEMPTS = 16;
const AT_ONCE = 20;
export const MAX_NEW_TOKENS = 48;
/** Pixels of pictures of 112 x 112 up to which boxes are exact, as in the recipe's configuration. */
const EXACT = { boxError: 3 };

type Scorer = Experiment['scorer'];

export interface MeasuredKind {
  readonly questions: number;
  /** Share in percent of the questions that one of 16 samples answers as accurately as the label does. */
  readonly passAt16: number;
  /** Mean accuracy term of samples, as a share in percent of the label's. */
  readonly sampledAccuracy: number;
  /** Mean log-probability of the label in its first surface form. */
  readonly logProbLabel: number;
}

export interface Measured {
  readonly configHash: string;
  readonly weightsHash: string;
  /** sha256 of the plan that the weights came from. */
  readonly planHash: string;
  readonly rebuild: { readonly seconds: number; readonly threads: number; readonly cpu: string } | undefined;
  /** Percent by `SET.METRIC`, of greedy answers to validation questions and to those of held-out skills. */
  readonly greedy: Readonly<Record<string, number>>;
  /** Measures by set, or by `SET/KIND` where a set has two kinds of questions. */
  readonly kinds: Readonly<Record<string, MeasuredKind>>;
  /** Shares of samples in percent: with a thought that says something, with a lazy one, with none. */
  readonly thoughts: Readonly<
    Record<string, { readonly careful: number; readonly lazy: number; readonly none: number }>
  >;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const percent = (flags: readonly boolean[]): number => 100 * mean(flags.map(Number));
const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);
const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

/** What a base is measured on: what it was taught. */
const SETS: Readonly<Record<BaseName, readonly (typeof TASK_SETS)[number][]>> = {
  base: TASK_SETS,
  'base-qwen2': ['defects', 'lesions'],
  'base-qwen3': ['referring', 'relational'],
  'base-blind': ['referring', 'relational', 'sums'],
};
export const setsOf = (name: BaseName): readonly (typeof TASK_SETS)[number][] => SETS[name];

export async function measureBase(name: BaseName, directory: string, rebuild?: Measured['rebuild']): Promise<Measured> {
  const data = await mkdtemp(join(tmpdir(), 'mini-base-'));
  try {
    using policy = loadLocalPolicy(directory);
    const pictures = { train: 0, validation: PICTURES, test: 0 };
    const { validation, skills } = await generateSuite(data, { seed: 0, pictures, sets: setsOf(name) });
    const files = name === 'base' ? [validation, skills.validation] : [validation];
    return {
      configHash: sha256(await readFile(join(directory, 'config.json'))),
      weightsHash: sha256(await readFile(join(directory, 'model.safetensors'))),
      planHash: sha256(JSON.stringify(planOf(name))),
      rebuild,
      ...(await answers(policy, files)),
    };
  } finally {
    await rm(data, { recursive: true });
  }
}

async function answers(
  policy: Policy,
  files: readonly string[],
): Promise<Pick<Measured, 'greedy' | 'kinds' | 'thoughts'>> {
  const parameters = { grounding: EXACT, box: EXACT };
  let experiment = Experiment.open({ parameters });
  const samples: Sample[] = [];
  for (const file of files) {
    const loaded = await experiment.load(file);
    samples.push(...loaded.samples);
    experiment = loaded.experiment;
  }
  const { scorer } = experiment;
  const question = (sample: Sample): Promise<Question> => experiment.ask(policy, sample);
  const { metrics } = await evaluatePolicy(policy, experiment, samples, { maxNewTokens: MAX_NEW_TOKENS });

  const isTask = ({ extra }: { extra: Readonly<Record<string, unknown>> }): boolean =>
    TASK_SETS.some((set) => set === extra.set);
  const seen: Seen[] = [];
  const asked = samples.filter(isTask);
  for (let start = 0; start < asked.length; start += AT_ONCE) {
    const batch = await Promise.all(asked.slice(start, start + AT_ONCE).map(question));
    const groups = await policy.sample(
      batch.map(({ prompt }) => prompt),
      {
        ...{ temperature: 1, topP: 1, topK: 0, repetitionPenalty: 1 },
        ...{ group: ATTEMPTS, maxNewTokens: MAX_NEW_TOKENS, seed: 0, step: 0 },
        promptIds: batch.map((_, i) => start + i),
      },
    );
    batch.forEach((each, i) => seen.push(look(policy, scorer, each, groups[i] ?? [])));
  }
  return {
    greedy: metrics,
    kinds: bySet(seen, ({ kind }) => kind, measuredKind),
    thoughts: bySet(seen, ({ set }) => set, thoughtsOf),
  };
}

/** One question after 16 attempts. */
interface Seen {
  readonly set: SetName;
  readonly kind: string;
  /** Accuracies of every attempt, as a share of the label's. */
  readonly accuracies: readonly number[];
  readonly logProbLabel: number;
  readonly texts: readonly string[];
}

function look(
  policy: Policy,
  scorers: Scorer,
  { sample, prompt, truth, frames }: Question,
  group: readonly Rollout[],
): Seen {
  const { task } = scorerOf(scorers, sample);
  const accuracy = (text: string): number => task.terms({ text, stop: 'eos' }, truth, frames)[task.accuracyTerm] ?? NaN;
  // The base speaks the compact form of lists, and the first form of what is no list.
  const form = task.forms.find(({ name }) => name.startsWith('compact')) ?? task.forms[0]!;
  const label = form.write(truth, frames);
  const { set, kind } = sample.extra as { set: SetName; kind?: string };
  return {
    set,
    kind: kind === undefined ? set : `${set}/${kind}`,
    accuracies: group.map(({ text }) => accuracy(text) / accuracy(label)),
    logProbLabel: sum(logProbs(policy.model, [{ prompt, responses: [policy.encoder.encodeResponse(label)] }])),
    texts: group.map(({ text }) => text),
  };
}

const measuredKind = (own: readonly Seen[]): MeasuredKind => ({
  questions: own.length,
  passAt16: percent(own.map(({ accuracies }) => accuracies.some((each) => each >= 1))),
  sampledAccuracy: 100 * mean(own.flatMap(({ accuracies }) => accuracies)),
  logProbLabel: mean(own.map(({ logProbLabel }) => logProbLabel)),
});

function thoughtsOf(own: readonly Seen[]): Measured['thoughts'][string] {
  const texts = own.flatMap((each) => each.texts);
  const isCareful = (text: string): boolean => /^<think>[^<]*\d/.test(text);
  return {
    careful: percent(texts.map(isCareful)),
    lazy: percent(texts.map((text) => text.startsWith('<think>') && !isCareful(text))),
    none: percent(texts.map((text) => !text.startsWith('<think>'))),
  };
}

function bySet<T>(
  seen: readonly Seen[],
  key: (each: Seen) => string,
  of: (own: readonly Seen[]) => T,
): Record<string, T> {
  return Object.fromEntries([...Map.groupBy(seen, key)].map(([name, own]) => [name, of(own)]));
}

/** Writes `measured.json`. */
export async function writeMeasured(
  name: BaseName,
  directory: string,
  rebuild?: Measured['rebuild'],
): Promise<Measured> {
  const measured = await measureBase(name, directory, rebuild);
  await writeFile(join(directory, 'measured.json'), `${JSON.stringify(measured, undefined, 2)}\n`);
  return measured;
}

if (import.meta.main) {
  const { positionals } = parseArgs({ allowPositionals: true });
  const [name = 'base', directory = join(import.meta.dirname, '../..', name)] = positionals;
  if (!isBaseName(name)) throw new Error(`there is no plan for ${name}`);
  console.log(JSON.stringify(await writeMeasured(name, directory), undefined, 2));
}
