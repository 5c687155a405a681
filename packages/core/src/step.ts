/**
 * Algorithm 1 of ViSurf: one step of training, in the order of the data. This file alone knows that order; every stage
 * is a function of plain data, and the paradigms differ by the work of the step (schedule/) only.
 */
import { allocated, resetPeakAllocated } from '@visurf/torch';

import type { Config } from './config/schema.ts';
import {
  alignLabel,
  countForms,
  mergeCounts,
  rememberStep,
  type AlignedLabel,
  type FormCounts,
  type FormHistory,
} from './label/align.ts';
import { alone, share, type Processes } from './distributed/processes.ts';
import { makeGroup } from './label/group.ts';
import type { Policy } from './policy.ts';
import { ask, type Question } from './question/ask.ts';
import { orStopped } from './data/paced.ts';
import { scoreGroups, scorerOf, type Scorer } from './reward/reward.ts';
import { sampleDynamically } from './rollout/dynamic.ts';
import type { Correction } from './objective/mismatch.ts';
import { NoiseIds, sampleGroups, type RolloutSampler } from './rollout/groups.ts';
import { Stopwatch, type ObservePhase, type Phase } from './run/phases.ts';
import type { StepResult } from './run/record.ts';
import { tellGroups } from './run/told.ts';
import { promptParts, type StepPart, type StepWork } from './schedule/paradigm.ts';
import type { Group, Rollout, Sample } from './types.ts';
import { inactiveLogProb } from './update/log-probs.ts';
import { updatePolicy, type Learner } from './update/update.ts';

/** Everything that a step reads. */
export interface StepContext {
  readonly config: Config;
  readonly policy: Policy;
  readonly learner: Learner;
  readonly scorer: Scorer;
  /** Who samples rollouts in place of the policy: servers that have its weights. */
  readonly sampler?: RolloutSampler | undefined;
  /** What was sampled one step ahead. */
  readonly ahead?: Ahead | undefined;
  readonly onPhase?: ObservePhase | undefined;
  /** Hears how far a phase has come that has parts. */
  readonly onPart?: ((phase: Phase, done: number, all: number) => void) | undefined;
  /** When aborted before the weights have moved, the step is dropped: its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** That make the step together; unset: this one is alone. */
  readonly processes?: Processes;
}

/** Samples of one step, or of a part of it; their places in the dataset key the sampling noise. */
export interface Batch {
  readonly samples: readonly Sample[];
  readonly indices: readonly number[];
}

/** What of a batch belongs to this process. */
export const shareOf = (processes: Processes, { samples, indices }: Batch): Batch => ({
  samples: share(processes, samples),
  indices: share(processes, indices),
});

/** Questions of a batch with rollouts of each, [B][G]. */
export interface SampledBatch {
  /** Places of the samples of all processes. */
  readonly indices: readonly number[];
  readonly questions: readonly Question[];
  readonly rollouts: readonly (readonly Rollout[])[];
}

/** Rollouts of the next step, which are sampled before the weights move. */
export interface Ahead {
  /** Whether something was sampled for this step. */
  has(step: number): boolean;
  /** What was sampled; nothing waits after it. */
  take(): Promise<SampledBatch>;
  /** Begins to sample for the step after this one; resolves when the weights may move. */
  begin(step: number): Promise<void>;
}

type Sampling = Pick<StepContext, 'config' | 'policy' | 'scorer' | 'sampler' | 'signal'> & {
  readonly onEnded?: (ended: number, all: number) => void;
};

/** Questions of samples; `sampleBatch` is the other half. */
export const askBatch = ({ config, policy, scorer }: Sampling, { samples }: Batch): Promise<Question[]> =>
  Promise.all(samples.map((sample) => ask({ ...config.data, policy, scorer }, sample)));

/**
 * v, t -> o_1 .. o_G for every question of a batch.
 * @param promptIds that key its noise (`NoiseIds`)
 */
export const sampleBatch = (
  { config, policy, sampler = policy, signal, onEnded }: Sampling,
  questions: readonly Question[],
  promptIds: readonly number[],
  sizes: readonly number[],
  step: number,
): Promise<Rollout[][]> => {
  const prompts = questions.map(({ prompt }) => prompt);
  const sampling = { ...config.rollout, seed: config.seed, step, promptIds, signal, onEnded };
  return sampleGroups(sampler, prompts, sizes, sampling);
};

/** Whether rollouts come from other weights, or another program, than the loss is of. */
const correctionOf = ({ rollout }: Config): Correction | undefined =>
  rollout.backend === 'local' && rollout.ahead === 0 ? undefined : { kind: rollout.correction, cap: rollout.cap };

/**
 * @param draw gives the next samples, as many as a step has prompts, the same to all processes; dynamic sampling asks for
 * more
 * @param step counts from 1
 * @param forms of the steps before
 */
export async function trainStep(
  context: StepContext,
  draw: () => Batch | Promise<Batch>,
  step: number,
  work: StepWork,
  learningRate: number,
  forms: FormHistory,
): Promise<StepResult> {
  const { config, policy, learner, scorer, signal, processes = alone } = context;
  const allParts = promptParts(work);
  const parts = share(processes, allParts);
  const sizes = parts.map(({ rollouts }) => rollouts);
  const watch = new Stopwatch(context.onPhase);
  const { device } = policy.model;
  resetPeakAllocated(device);
  let counts: FormCounts = {};
  const noise = new NoiseIds();
  const sample = async (): Promise<SampledBatch> => {
    const batch = await draw();
    const drawn = batch.samples.length;
    if (drawn !== allParts.length) throw new Error(`${drawn} samples for ${allParts.length} prompts`);
    const own = shareOf(processes, batch);
    const promptIds = share(processes, noise.next(batch.indices));
    return await processes.together(async () => {
      const questions = await askBatch(context, own);
      watch.lap('prompt');
      const onEnded = (ended: number, all: number): void => context.onPart?.('rollout', ended, all);
      const rollouts = await sampleBatch({ ...context, onEnded }, questions, promptIds, sizes, step);
      return { indices: batch.indices, questions, rollouts };
    });
  };
  const make = async (): Promise<Group[]> => {
    const waiting = context.ahead?.has(step) ? context.ahead : undefined;
    const { indices, questions, rollouts } = await (waiting ? processes.together(() => waiting.take()) : sample());
    // Further batches of the step come after those.
    if (waiting) noise.next(indices);
    watch.lap('rollout');
    const own = mergeCounts(questions.map((question, i) => formsOf(scorer, question, rollouts[i]!)));
    counts = mergeCounts([counts, ...(await processes.gather(own))]);
    const groups = await processes.together(() => {
      const labels = questions.map((question, i) => labelOf(context, question, parts[i]!.label, [...forms, counts]));
      return orStopped(judge(context, questions, rollouts, labels), signal);
    });
    watch.lap('reward');
    return groups;
  };
  const { groups, sampled } = await sampleDynamically(make, config.rollout.dynamicSampling, processes);
  if (context.ahead) {
    await context.ahead.begin(step);
    watch.lap('rollout');
    // Nothing is judged: what comes next is the update.
    watch.lap('reward');
  }
  const inactive = await inactiveLogProb(policy.model, groups, config.train.microBatch.prompts, processes);
  const own = groups.map(({ group }) => group);
  const update = await updatePolicy(learner, own, work, config, learningRate, {
    ...{ seed: config.seed, step, signal, processes, correction: correctionOf(config) },
    places: groups.map(({ place }) => place),
    onMicro: (done, all) => context.onPart?.('update', done, all),
  });
  const told = await tellGroups(processes, groups, update.oldLogProbs);
  const memory = await processes.max(allocated(device).peak);
  watch.lap('update');
  const after = { forms: rememberStep(forms, counts), seconds: watch.seconds, memory };
  const { oldLogProbs } = told;
  return {
    work,
    groups: told.groups,
    sampled,
    update: { ...update, oldLogProbs },
    inactiveLogProb: inactive,
    ...after,
  };
}

const formsOf = (scorer: Scorer, { sample }: Question, rollouts: readonly Rollout[]): FormCounts =>
  countForms(scorerOf(scorer, sample).task, rollouts.map(({ text }) => text)); // prettier-ignore

/** Align: y in the form that these rollouts and those of the steps before prefer. */
const labelOf = (
  { config, policy, scorer }: StepContext,
  question: Question,
  place: StepPart['label'],
  forms: FormHistory,
): AlignedLabel | undefined =>
  alignLabel(scorerOf(scorer, question.sample).task, question, place, config.label.align, forms, policy);

/** r of every response, then label control and advantages. A label that nothing is compared with is not scored. */
async function judge(
  { config, scorer }: StepContext,
  questions: readonly Question[],
  rollouts: readonly (readonly Rollout[])[],
  labels: readonly (AlignedLabel | undefined)[],
): Promise<Group[]> {
  const scorers = questions.map(({ sample }) => scorerOf(scorer, sample));
  const answers = rollouts.map((own, i) => {
    const compared = own.length > 0 ? labels[i] : undefined;
    return [...own, ...(compared ? [{ ...compared.response, isLabel: true }] : [])];
  });
  const scored = await scoreGroups(
    questions.map((subject, i) => ({ scorer: scorers[i]!, subject, answers: answers[i]! })),
  );
  return questions.map((question, i) => {
    const [own, label, terms] = [rollouts[i]!, labels[i], scored[i]!];
    const said = own.map((response, j) => ({ response, terms: terms[j] }));
    const written = label && { ...label, terms: terms.length > own.length ? terms.at(-1) : {} };
    return makeGroup(question, scorers[i]!, said, written, config);
  });
}
