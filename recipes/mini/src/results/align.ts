/**
 * How likely labels are before training, by the way they are aligned: `node src/results/align.ts` writes log pi(y) of the
 * base model, mean per set of the validation data, to `results/align.json`.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  countForms,
  Experiment,
  labelTexts,
  loadLocalPolicy,
  logProbs,
  mergeCounts,
  preferredForm,
  rarestForm,
  scorerOf,
  writeLabel,
} from '@visurf/core/internals';

import { DATA_OF_SUITE } from './data.ts';

export const ALIGNMENTS = ['off', 'format', 'likelihood', 'rarest'] as const;

export interface Aligned {
  readonly set: string;
  readonly questions: number;
  /** Surface form that rollouts use most. */
  readonly form: string;
  /**
   * Mean log pi(y), in nats: in the task's first form, in the one that rollouts use most, the one they use least, in the
   * likeliest of each label.
   */
  readonly logProb: Readonly<Record<(typeof ALIGNMENTS)[number], number>>;
}

export const ALIGNED = join(import.meta.dirname, '../../results/align.json');
/** Questions of a set, and rollouts of each whose forms are counted. */
const [QUESTIONS, ROLLOUTS] = [40, 8];

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

async function measure(): Promise<Aligned[]> {
  using policy = loadLocalPolicy(join(import.meta.dirname, '../../base'));
  const file = join(DATA_OF_SUITE, 'validation.jsonl');
  const { samples, experiment } = await Experiment.open().load(file);
  const measured: Aligned[] = [];
  for (const [set, all] of Map.groupBy(samples, ({ extra }) => String(extra.set))) {
    const questions = await Promise.all(all.slice(0, QUESTIONS).map((sample) => experiment.ask(policy, sample)));
    const { task } = scorerOf(experiment.scorer, all[0]!);
    const sampling = { temperature: 1, topP: 1, topK: 0, repetitionPenalty: 1, maxNewTokens: 48, seed: 0, step: 0 };
    const prompts = questions.map(({ prompt }) => prompt);
    const promptIds = prompts.map((_, i) => i);
    const rollouts = await policy.sample(prompts, { ...sampling, group: ROLLOUTS, promptIds });
    const counts = mergeCounts(rollouts.map((group) => countForms(task, group.map(({ text }) => text)))); // prettier-ignore
    const form = preferredForm(task, [counts]);
    const rarest = rarestForm(task, [counts]);
    const found = questions.map((question) => {
      const texts = labelTexts(task, question).map(({ text }) => text);
      const responses = texts.map((text) => policy.write(text).tokens);
      const flat = Array.from(logProbs(policy.model, [{ prompt: question.prompt, responses }]));
      const totals = responses.map(({ length }) => flat.splice(0, length).reduce((a, b) => a + b, 0));
      const inForm = (name: string): number => totals[texts.indexOf(writeLabel(task, name, question).text)]!;
      return {
        off: inForm(task.forms[0]!.name),
        format: inForm(form),
        likelihood: Math.max(...totals),
        rarest: inForm(rarest),
      };
    });
    const logProb = Object.fromEntries(
      ALIGNMENTS.map((alignment) => [alignment, mean(found.map((each) => each[alignment]))]),
    ) as Aligned['logProb'];
    measured.push({ set, questions: questions.length, form, logProb });
  }
  return measured;
}

if (import.meta.main) writeFileSync(ALIGNED, `${JSON.stringify(await measure(), undefined, 2)}\n`);
