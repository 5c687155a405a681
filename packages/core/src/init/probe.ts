/** What a base does with questions before it is trained: how often it is right, how likely it finds labels, what it sees. */
import { noGrad, scope } from '@visurf/torch';

import { labelTexts } from '../label/align.ts';
import type { Policy } from '../policy.ts';
import type { Question } from '../question/ask.ts';
import type { Experiment } from '../question/experiment.ts';
import { scorerOf, scoreTerms } from '../reward/reward.ts';
import type { Rollout, Sample } from '../types.ts';
import { separationOf, type ProbedState, type Separation } from './separation.ts';
import { kindOf } from './survey.ts';

/** What the base did with questions of a kind. */
export interface KindProbe {
  readonly questions: number;
  /** Share of answers that are as accurate as the label. */
  readonly right: number;
  /** Share of questions to which one of the answers is. */
  readonly reached: number;
}

export interface Probe {
  readonly questions: number;
  /** Sampled per question. */
  readonly answers: number;
  /** Of all questions, and where questions are of several kinds by these. */
  readonly all: KindProbe;
  readonly kinds: Readonly<Record<string, KindProbe>>;
  /** Shares of answers: that can be read, that think, that did not end. */
  readonly wellFormed: number;
  readonly thinking: number;
  readonly cutOff: number;
  /** Tokens of answers that ended, the longest of 20 left out; NaN where none did. */
  readonly length: number;
  /** Tokens of the longest label. */
  readonly labelLength: number;
  /** Mean log pi of a label, in its likeliest form, and of one of its tokens. */
  readonly labelLogProb: number;
  readonly labelTokenLogProb: number;
  /** Undefined where questions are of one kind, or too few were asked. */
  readonly separation: Separation | undefined;
  /** Why fewer questions were asked than there are to be. */
  readonly cut: string | undefined;
}

export interface ProbeOptions {
  /** Questions to be answered. */
  readonly questions: number;
  /** Questions whose states are looked at, which is much cheaper. */
  readonly states: number;
  readonly maxNewTokens: number;
  /** For all of it. */
  readonly seconds: number;
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((what: 'answers' | 'states', done: number, total: number) => void) | undefined;
}

/** Sampled per question: pass@8. */
const ANSWERS = 8;
/** Questions that are asked together. */
const TOGETHER = 4;

interface Asked {
  readonly kind: string | undefined;
  readonly terms: readonly { readonly right: boolean; readonly thinks: boolean; readonly wellFormed: boolean }[];
  readonly rollouts: readonly Rollout[];
  readonly label: { readonly logProb: number; readonly tokens: number; readonly longest: number };
}

/**
 * @param samples to draw from, in an order that mixes them
 * @throws the signal's reason where it is aborted; where time runs out what was found until then comes back
 */
export async function probe(
  policy: Policy,
  experiment: Experiment,
  samples: readonly Sample[],
  options: ProbeOptions,
): Promise<Probe | undefined> {
  const { signal, onProgress } = options;
  const chosen = balanced(samples, options.states);
  // Answers take most of the time: states get what they need first.
  const limit = AbortSignal.timeout(options.seconds * 1000);
  const both = signal ? AbortSignal.any([signal, limit]) : limit;
  const states: ProbedState[] = [];
  const asked: Asked[] = [];
  const total = Math.min(options.questions, chosen.length);
  let cut: string | undefined;
  try {
    if (new Set(chosen.map(kindOf)).size > 1) {
      for (let start = 0; start < chosen.length; start += TOGETHER) {
        states.push(...(await statesOf(policy, experiment, chosen.slice(start, start + TOGETHER))));
        onProgress?.('states', states.length, chosen.length);
        await new Promise((next) => setImmediate(next));
        both.throwIfAborted();
      }
    }
    for (let start = 0; start < total; start += TOGETHER) {
      const some = chosen.slice(start, Math.min(start + TOGETHER, total));
      asked.push(...(await answersOf(policy, experiment, some, { ...options, signal: both, start })));
      onProgress?.('answers', asked.length, total);
      both.throwIfAborted();
    }
  } catch (error) {
    if (signal?.aborted || error !== limit.reason) throw error;
    cut = `${asked.length} of ${total} questions in ${options.seconds} s`;
  }
  return asked.length === 0 ? undefined : { ...summary(asked), separation: separationOf(states), cut };
}

/** Some samples of every kind, as many of each as there are to be had, taking turns. */
function balanced(samples: readonly Sample[], count: number): Sample[] {
  const kinds = [...Map.groupBy(samples, kindOf).values()];
  const chosen: Sample[] = [];
  for (let i = 0; chosen.length < count && kinds.some((own) => i < own.length); i++) {
    for (const own of kinds) if (i < own.length && chosen.length < count) chosen.push(own[i]!);
  }
  return chosen;
}

async function statesOf(policy: Policy, experiment: Experiment, samples: readonly Sample[]): Promise<ProbedState[]> {
  const questions = await Promise.all(samples.map((sample) => experiment.ask(policy, sample)));
  const flat = scope(() =>
    noGrad(() =>
      policy.model
        .prefill(questions.map(({ prompt }) => prompt))
        .last.to('float32')
        .toFloat32Array(),
    ),
  );
  const size = flat.length / samples.length;
  return samples.map((sample, i) => ({
    ...{ state: flat.slice(i * size, (i + 1) * size), kind: kindOf(sample) ?? '', group: sample.images.join('\n') },
  }));
}

async function answersOf(
  policy: Policy,
  experiment: Experiment,
  samples: readonly Sample[],
  { maxNewTokens, seed, signal, start }: ProbeOptions & { readonly start: number },
): Promise<Asked[]> {
  const questions = await Promise.all(samples.map((sample) => experiment.ask(policy, sample)));
  const groups = await policy.sample(
    questions.map(({ prompt }) => prompt),
    {
      ...{
        temperature: 1,
        topP: 1,
        topK: 0,
        repetitionPenalty: 1,
        group: ANSWERS,
        maxNewTokens,
        seed,
        step: 0,
        signal,
      },
      promptIds: questions.map((_, i) => start + i),
    },
  );
  return questions.map((question, i): Asked => {
    const { sample, frames } = question;
    const scorer = scorerOf(experiment.scorer, sample);
    const { task } = scorer;
    const labels = labelTexts(task, question).map(({ text }) => text);
    const best = scoreTerms(scorer, { text: labels[0]!, stop: 'eos' }, question)[task.accuracyTerm] ?? 0;
    const terms = groups[i]!.map((rollout) => {
      const own = scoreTerms(scorer, rollout, question);
      const isRead = rollout.stop === 'eos' && task.parse(rollout.text, frames).wellFormed;
      const isRight = isRead && (own[task.accuracyTerm] ?? 0) >= best;
      return { right: isRight, thinks: (own[task.thinkingTerm] ?? 0) > 0, wellFormed: isRead };
    });
    return { kind: kindOf(sample), terms, rollouts: groups[i]!, label: labelOf(policy, question, labels) };
  });
}

/** log pi of a label in its likeliest form. */
function labelOf(policy: Policy, { prompt }: Question, texts: readonly string[]): Asked['label'] {
  const responses = texts.map((text) => policy.write(text));
  const logProbs = policy.logProbs(prompt, responses);
  const best = logProbs.indexOf(Math.max(...logProbs));
  const lengths = responses.map(({ tokens }) => tokens.length);
  return { logProb: logProbs[best]!, tokens: lengths[best]!, longest: Math.max(...lengths) };
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

function summary(asked: readonly Asked[]): Omit<Probe, 'separation' | 'cut'> {
  const of = (own: readonly Asked[]): KindProbe => ({
    questions: own.length,
    right: mean(own.flatMap(({ terms }) => terms.map(({ right }) => Number(right)))),
    reached: mean(own.map(({ terms }) => Number(terms.some(({ right }) => right)))),
  });
  const kinds = [...Map.groupBy(asked, ({ kind }) => kind)].flatMap(([kind, own]) =>
    kind === undefined ? [] : [[kind, of(own)] as const],
  );
  const terms = asked.flatMap((each) => each.terms);
  const rollouts = asked.flatMap((each) => each.rollouts);
  const ended = rollouts.filter(({ stop }) => stop === 'eos').map(({ tokens }) => tokens.length);
  const sorted = ended.toSorted((a, b) => a - b);
  return {
    questions: asked.length,
    answers: ANSWERS,
    all: of(asked),
    kinds: Object.fromEntries(kinds),
    wellFormed: mean(terms.map(({ wellFormed }) => Number(wellFormed))),
    thinking: mean(terms.map(({ thinks }) => Number(thinks))),
    cutOff: 1 - ended.length / rollouts.length,
    length: sorted[Math.ceil(0.95 * sorted.length) - 1] ?? NaN,
    labelLength: Math.max(...asked.map(({ label }) => label.longest)),
    labelLogProb: mean(asked.map(({ label }) => label.logProb)),
    labelTokenLogProb:
      asked.reduce((sum, { label }) => sum + label.logProb, 0) /
      asked.reduce((sum, { label }) => sum + label.tokens, 0),
  };
}
