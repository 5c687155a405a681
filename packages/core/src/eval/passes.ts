/** Many sampled answers per question: how often a policy is right, what it could reach with more tries. */
import { evaluatedTogether } from '../budgets.ts';
import type { Experiment } from '../question/experiment.ts';
import { scorerOf, scoreTerms } from '../reward/reward.ts';
import type { SamplingOptions } from '../rollout/respond.ts';
import { withThinking } from '../tasks/thinking.ts';
import type { Sample } from '../types.ts';
import type { Sampler } from './evaluate.ts';

/** The sampled answers to one question. */
export interface SampledAnswers {
  readonly id: string;
  readonly set: string;
  /** Answers, and those as accurate as the label. */
  readonly answers: number;
  readonly passes: number;
  /** Mean mark for thinking, and mean number of tokens. */
  readonly thinking: number;
  readonly length: number;
}

export interface PassSettings {
  /** Per question. */
  readonly answers: number;
  readonly maxNewTokens: number;
  readonly seed: number;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Temperature 1, the policy's own distribution. @param setOf the set of a sample */
export async function samplePasses(
  policy: Sampler,
  experiment: Experiment,
  samples: readonly Sample[],
  setOf: (sample: Sample) => string,
  { answers, maxNewTokens, seed, onProgress, signal }: PassSettings,
): Promise<SampledAnswers[]> {
  const together = Math.max(1, Math.floor(evaluatedTogether / answers));
  const results: SampledAnswers[] = [];
  for (let start = 0; start < samples.length; start += together) {
    const questions = await Promise.all(
      samples.slice(start, start + together).map((each) => experiment.ask(policy, each)),
    );
    const options: SamplingOptions = {
      ...{ temperature: 1, topP: 1, topK: 0, repetitionPenalty: 1, group: answers, maxNewTokens, seed, step: 0 },
      promptIds: questions.map((_, i) => start + i),
      ...(signal && { signal }),
    };
    const groups = await policy.sample(
      questions.map(({ prompt }) => prompt),
      options,
    );
    questions.forEach((question, i) => {
      const { sample, truth, frames } = question;
      const scorer = scorerOf(experiment.scorer, sample);
      const { task } = scorer;
      const text = withThinking(sample.thinking, task.forms[0]!.write(truth, frames));
      const label = scoreTerms(scorer, { text, stop: 'eos' }, question);
      const terms = groups[i]!.map((answer) => scoreTerms(scorer, answer, question));
      results.push({
        id: sample.id,
        set: setOf(sample),
        answers,
        passes: terms.filter((each) => each[task.accuracyTerm]! >= label[task.accuracyTerm]!).length,
        thinking: mean(terms.map((each) => each[task.thinkingTerm]!)),
        length: mean(groups[i]!.map(({ tokens }) => tokens.length)),
      });
    });
    onProgress?.(results.length, samples.length);
  }
  return results;
}

/** Probability that one of k answers is right, without bias from n of which c are: 1 - C(n - c, k) / C(n, k) (arXiv 2107.03374). */
export function passAtK(n: number, c: number, k: number): number {
  if (n - c < k) return 1;
  let missed = 1;
  for (let i = n - c + 1; i <= n; i++) missed *= 1 - k / i;
  return 1 - missed;
}

/** Questions by how often the base is right: never, up to a quarter of the time, ..., always. */
export const difficulties = [
  { name: 'never', holds: (rate: number): boolean => rate === 0 },
  { name: 'up to 25%', holds: (rate: number): boolean => rate > 0 && rate <= 0.25 },
  { name: 'up to 50%', holds: (rate: number): boolean => rate > 0.25 && rate <= 0.5 },
  { name: 'up to 75%', holds: (rate: number): boolean => rate > 0.5 && rate <= 0.75 },
  { name: 'more', holds: (rate: number): boolean => rate > 0.75 && rate < 1 },
  { name: 'always', holds: (rate: number): boolean => rate === 1 },
] as const;

export interface DifficultyRow {
  readonly difficulty: string;
  readonly questions: number;
  /** By policy, over the questions: share of right answers, mark for thinking, tokens. */
  readonly policies: ReadonlyMap<
    string,
    { readonly passRate: number; readonly thinking: number; readonly length: number }
  >;
}

/** @param policies by name, their answers to the same questions in the same order; the first is the base */
export function byDifficulty(policies: ReadonlyMap<string, readonly SampledAnswers[]>): DifficultyRow[] {
  const [base = []] = policies.values();
  return difficulties.flatMap(({ name, holds }): DifficultyRow[] => {
    const chosen = base.flatMap(({ passes, answers }, i) => (holds(passes / answers) ? [i] : []));
    if (chosen.length === 0) return [];
    const summary = (own: readonly SampledAnswers[]) => ({
      passRate: mean(chosen.map((i) => own[i]!.passes / own[i]!.answers)),
      thinking: mean(chosen.map((i) => own[i]!.thinking)),
      length: mean(chosen.map((i) => own[i]!.length)),
    });
    const rows = new Map([...policies].map(([policy, own]) => [policy, summary(own)]));
    return [{ difficulty: name, questions: chosen.length, policies: rows }];
  });
}
