/**
 * Signs that labels take the policy over: it gives answers that labels taught where they are wrong, stops to think, or finds
 * labels likely that do not teach it any more. All are compared with the first steps of the run, so that they warn of a
 * change, not of a hard task.
 */
import type { Scorer } from '../reward/reward.ts';
import { scorerOf } from '../reward/reward.ts';
import { normalised } from '../tasks/text.ts';
import { answerBlock } from '../tasks/thinking.ts';
import type { Group } from '../types.ts';

/** Metrics of a step that are watched; absent where nothing was sampled, or there was no label. */
export interface TakeoverSigns {
  /** Mean raw mark for thinking. */
  readonly thinking?: number;
  /** Share of rollouts that are wrong and give the answer of another prompt's label. */
  readonly labelCopied?: number;
  /** Mean log pi(y) of labels that smoothing switched off. */
  readonly labelLogProbInactive?: number;
}

const answerOf = (text: string): string | undefined => {
  const block = answerBlock(text);
  return block === undefined ? undefined : normalised(block);
};

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** NaN without rollouts, or without labels. */
export function takeoverSigns(
  groups: readonly Group[],
  scorer: Scorer,
): Required<Pick<TakeoverSigns, 'thinking' | 'labelCopied'>> {
  const answers = groups.map(({ label }) =>
    label && label.place !== 'aside' ? answerOf(label.response.text) : undefined,
  );
  const marks = groups.flatMap(({ sample, rollouts }) => {
    const { thinkingTerm } = scorerOf(scorer, sample).task;
    return rollouts.map(({ terms }) => terms[thinkingTerm] ?? 0);
  });
  const copied = groups.flatMap(({ sample, rollouts, label }, g) => {
    if (label === undefined || label.place === 'aside') return [];
    const { accuracyTerm } = scorerOf(scorer, sample).task;
    return rollouts.map(({ terms, response }): number => {
      const given = answerOf(response.text);
      const isWrong = (terms[accuracyTerm] ?? 0) < (label.terms[accuracyTerm] ?? 0);
      return isWrong && given !== undefined && given !== answers[g] && answers.includes(given) ? 1 : 0;
    });
  });
  return { thinking: mean(marks), labelCopied: mean(copied) };
}

/** Steps that are averaged, at the start and now. */
const window = 4;
/** What was kept of the thinking of the start below which there is a warning, where there was some. */
const thinkingKept = 0.8;
const someThinking = 0.1;
/** Rise of the share of copied answers that brings a warning. */
const copiedRise = 0.2;
/** What is left of -log pi(y) of the start, where labels were unlikely. */
const surpriseLeft = 0.5;
const unlikely = -4;

const remedy =
  'lower optimizer.learningRate; or let labels look like rollouts (label.align: likelihood, label.eliminate: neutral), ' +
  'weigh less (label.weight), or be fewer (paradigm: data-mixing)';

const percent = (share: number): string => `${Math.round(100 * share)}%`;

/** What is said where a sign shows, by its means at the start and now; undefined where it does not. */
const SIGNS: Readonly<Record<keyof TakeoverSigns, (start: number, now: number) => string | undefined>> = {
  labelCopied: (start, now) =>
    now >= start + copiedRise
      ? `${percent(now)} of the rollouts repeat a label of another prompt where it is wrong, ${percent(start)} did at the start`
      : undefined,
  thinking: (start, now) =>
    start >= someThinking && now < thinkingKept * start
      ? `thinking fell from ${percent(start)} of the rollouts to ${percent(now)}`
      : undefined,
  labelLogProbInactive: (start, now) =>
    start < unlikely && now > surpriseLeft * start
      ? `log pi of labels that are switched off rose from ${start.toFixed(1)} to ${now.toFixed(1)}`
      : undefined,
};

/** Watches a run. It warns once of each sign. */
export class TakeoverGuard {
  readonly #history: Record<keyof TakeoverSigns, number[]> = {
    labelCopied: [],
    thinking: [],
    labelLogProbInactive: [],
  };
  readonly #warned = new Set<keyof TakeoverSigns>();

  /** @param past steps of a run that goes on */
  constructor(past: readonly TakeoverSigns[] = []) {
    for (const signs of past) this.observe(signs);
  }

  /** @returns a warning where a sign shows for the first time */
  observe(signs: TakeoverSigns): string | undefined {
    for (const sign of ['labelCopied', 'thinking', 'labelLogProbInactive'] as const) {
      const value = signs[sign];
      const history = this.#history[sign];
      if (value === undefined || Number.isNaN(value)) continue;
      // Those between the start and now say nothing.
      if (history.length === 2 * window) history.splice(window, 1);
      history.push(value);
      if (history.length < 2 * window || this.#warned.has(sign)) continue;
      const what = SIGNS[sign](mean(history.slice(0, window)), mean(history.slice(-window)));
      if (what === undefined) continue;
      this.#warned.add(sign);
      return `labels may be taking the policy over: ${what}. What helps: ${remedy}`;
    }
    return undefined;
  }
}
