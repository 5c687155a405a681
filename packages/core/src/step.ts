/**
 * Algorithm 1 of ViSurf: one step of training, in the order of the data. This file alone knows that order; every stage
 * is a function of plain data, and the paradigms differ by the terms of the step (schedule/) only.
 */
import type { Config } from './config/schema.ts';
import {
  countForms,
  mergeCounts,
  labelTexts,
  mostLikely,
  preferredForm,
  rarestForm,
  rememberStep,
  writeLabel,
  type FormHistory,
  type LabelText,
} from './label/align.ts';
import { allFailed, controlLabel, type ControlledLabel } from './label/control.ts';
import { groupAdvantages } from './objective/advantage.ts';
import type { Policy } from './policy.ts';
import { scorerOf, scoreTerms, totalReward, type Scorer, type Subject } from './reward/reward.ts';
import { sampleDynamically } from './rollout/dynamic.ts';
import { promptParts, type StepPart, type StepTerms } from './schedule/paradigm.ts';
import { fillTemplate } from './tasks/template.ts';
import type { Group, LabelRole, Member, Prompt, Response, Rollout, Sample, Terms } from './types.ts';
import { logProbs, updatePolicy, type Learner, type UpdateResult } from './update/update.ts';

/** Everything that a step reads; `forms` is the only part it changes, by returning the next. */
export interface StepContext {
  readonly config: Config;
  readonly policy: Policy;
  readonly learner: Learner;
  readonly scorer: Scorer;
  readonly onPhase?: ObservePhase | undefined;
}

/** A sample with its prompt and its parsed label. */
export interface Question extends Subject {
  readonly prompt: Prompt;
}

/** Samples of one step, or of a part of it; their places in the dataset key the sampling noise. */
export interface Batch {
  readonly samples: readonly Sample[];
  readonly indices: readonly number[];
}

type Phase = 'prompt' | 'rollout' | 'reward' | 'update';

/** Called at the end of a phase; times in milliseconds of `performance.now()`. */
export type ObservePhase = (phase: Phase, start: number, end: number) => void;

export interface StepResult {
  readonly terms: StepTerms;
  readonly groups: readonly Group[];
  /** Prompts that became a group; more than `groups` where dynamic sampling left some out. */
  readonly sampled: number;
  readonly update: UpdateResult;
  /** Mean log pi_old(y) of labels that smoothing switched off; NaN without any. */
  readonly inactiveLogProb: number;
  readonly forms: FormHistory;
  /** Seconds by phase. */
  readonly seconds: Readonly<Record<Phase, number>>;
}

/**
 * @param draw gives the next samples, as many as a step has prompts; dynamic sampling asks for more
 * @param step counts from 1
 */
export async function trainStep(
  context: StepContext,
  draw: () => Batch,
  step: number,
  terms: StepTerms,
  learningRate: number,
  forms: FormHistory,
): Promise<StepResult> {
  const { config, learner, scorer } = context;
  const watch = stopwatch(context.onPhase);
  const make = (): Promise<Group[]> => makeGroups(context, draw(), step, terms, forms, watch.lap);
  const { groups, all } = await sampleDynamically(make, config.rollout.dynamicSampling);
  const inactiveLogProb = watchInactive(context, groups);
  const update = await updatePolicy(learner, groups, terms, config, learningRate, { seed: config.seed, step });
  watch.lap('update');
  const counts = mergeCounts(all.map((group) => countForms(scorerOf(scorer, group.sample).task, rolloutTexts(group))));
  const after = { forms: rememberStep(forms, counts), seconds: watch.seconds };
  return { terms, groups, sampled: all.length, update, inactiveLogProb, ...after };
}

/** The groups of one batch: all of a step but its update. */
async function makeGroups(
  context: StepContext,
  { samples, indices }: Batch,
  step: number,
  terms: StepTerms,
  forms: FormHistory,
  lap: (phase: Phase) => void,
): Promise<Group[]> {
  const parts = promptParts(terms);
  if (samples.length !== parts.length) throw new Error(`${samples.length} samples for ${parts.length} prompts`);
  const questions = await Promise.all(samples.map((sample) => ask({ ...context, ...context.config.data }, sample)));
  lap('prompt');
  const rollouts = await sampleRollouts(context, questions, indices, step, parts);
  lap('rollout');
  const labels = alignLabels(context, questions, forms, parts);
  const groups = questions.map((question, i) => controlGroup(context, question, rollouts[i] ?? [], labels[i]));
  lap('reward');
  return groups;
}

/** Of some: as many as are in memory at once, so that watching costs little. */
function watchInactive({ config, policy }: StepContext, groups: readonly Group[]): number {
  const inactive = groups.flatMap(({ prompt, label, members: [first] }) =>
    label?.role === 'member' && !label.active && first?.kind === 'label'
      ? [{ prompt, responses: [first.response.tokens] }]
      : [],
  );
  const watched = inactive.slice(0, config.train.microBatch.prompts);
  if (watched.length === 0) return NaN;
  return logProbs(policy.model, watched).reduce((a, b) => a + b, 0) / watched.length;
}

const rolloutTexts = ({ members }: Group): string[] =>
  members.flatMap(({ kind, response }) => (kind === 'rollout' ? [response.text] : []));

function stopwatch(onPhase: ObservePhase | undefined): {
  readonly seconds: Readonly<Record<Phase, number>>;
  readonly lap: (phase: Phase) => void;
} {
  const seconds = { prompt: 0, rollout: 0, reward: 0, update: 0 };
  let last = performance.now();
  const lap = (phase: Phase): void => {
    const now = performance.now();
    seconds[phase] += (now - last) / 1000;
    onPhase?.(phase, last, now);
    last = now;
  };
  return { seconds, lap };
}

/** What asks a question: the policy's eyes, the sample's task, and a prompt template in place of the task's own. */
export interface Asking {
  readonly policy: Pick<Policy, 'encoder'>;
  readonly scorer: Scorer;
  readonly prompt?: string | undefined;
  readonly system?: string | undefined;
}

/** sample -> prompt and truth. A sample may bring its own template in its field `prompt`; the config's wins. */
export async function ask({ policy, scorer, prompt: template, system }: Asking, sample: Sample): Promise<Question> {
  const { task } = scorerOf(scorer, sample);
  const where = `${sample.source.file}:${sample.source.line} (${sample.id})`;
  const { prompt: own } = sample.extra;
  const chosen = template ?? (typeof own === 'string' ? own : task.template);
  const problem = fillTemplate(chosen, task.variables(sample.problem));
  const prompt = await policy.encoder.encode({ problem, images: sample.images, system, places: true }, where);
  return { sample, prompt, frames: prompt.frames, truth: task.parseTruth(sample, prompt.frames) };
}

/** v, t -> o_1 .. o_G ~ pi_old, [B][G]; none where a prompt is for SFT alone. */
async function sampleRollouts(
  { config, policy }: StepContext,
  questions: readonly Question[],
  indices: readonly number[],
  step: number,
  parts: readonly StepPart[],
): Promise<Rollout[][]> {
  const group = Math.max(...parts.map(({ rollouts }) => rollouts));
  const asked = parts.flatMap(({ rollouts }, i) => (rollouts > 0 ? [i] : []));
  const result: Rollout[][] = questions.map(() => []);
  if (asked.length === 0) return result;
  const prompts = asked.map((i) => questions[i]!.prompt);
  const promptIds = asked.map((i) => indices[i]!);
  const sampled = await policy.sample(prompts, { ...config.rollout, group, seed: config.seed, step, promptIds });
  asked.forEach((i, j) => (result[i] = sampled[j]!));
  return result;
}

/** A label in its surface form, and where it stands. */
interface WrittenLabel extends LabelText {
  readonly role: LabelRole;
}

/** Align: the label in the surface form that the policy prefers. [B]; undefined where a prompt has none. */
function alignLabels(
  { config, policy, scorer }: StepContext,
  questions: readonly Question[],
  forms: FormHistory,
  parts: readonly StepPart[],
): (WrittenLabel | undefined)[] {
  const { align } = config.label;
  const history = align === 'off' ? [] : forms;
  const formOf = align === 'rarest' ? rarestForm : preferredForm;
  const preferred = (question: Question): LabelText => {
    const { task } = scorerOf(scorer, question.sample);
    return writeLabel(task, formOf(task, history), question);
  };
  const mostLikelyOf = (question: Question): LabelText => {
    const labels = labelTexts(scorerOf(scorer, question.sample).task, question);
    const responses = labels.map(({ text }) => policy.write(text).tokens);
    const flat = Array.from(logProbs(policy.model, [{ prompt: question.prompt, responses }]));
    const totals = responses.map(({ length }) => flat.splice(0, length).reduce((a, b) => a + b, 0));
    return mostLikely(labels, totals);
  };
  return questions.map((question, i) => {
    const role = parts[i]!.label;
    if (role === 'none') return undefined;
    const text = align === 'likelihood' ? mostLikelyOf(question) : preferred(question);
    return { ...text, role };
  });
}

/** r, then inject, eliminate and smooth, then advantages over {y, o_1 .. o_G} (equations 2, 6, 7). */
function controlGroup(
  context: StepContext,
  question: Question,
  rollouts: readonly Rollout[],
  label: WrittenLabel | undefined,
): Group {
  const { config, policy } = context;
  const { sample, prompt } = question;
  const scorer = scorerOf(context.scorer, sample);
  const scored = rollouts.map((response) => {
    const terms = scoreTerms(scorer, response, question);
    return { response, terms, reward: totalReward(terms, scorer.weights) };
  });
  const response = label && policy.write(label.text);
  const control =
    label?.role === 'member' && response
      ? joinGroup(
          context,
          question,
          response,
          scored.map(({ terms }) => terms),
        )
      : undefined;
  const { std, baseline } = config.objective;
  const rewards = scored.map(({ reward }) => reward);
  const advantages = groupAdvantages(control, rewards, std, baseline);
  const members = scored.map((each, j): Member => ({
    kind: 'rollout',
    ...each,
    advantage: advantages.rollouts[j] ?? 0,
  }));
  if (!label || !response) return { sample, prompt, members, label: undefined };
  const { form, role } = label;
  if (role === 'member' && !control) return { sample, prompt, members, label: { form, role, active: false } };
  const { terms, reward, active } = control ?? { terms: {}, reward: 0, active: true };
  const first: Member = {
    kind: 'label',
    response,
    terms,
    reward,
    advantage: config.label.weight * (advantages.label ?? 0),
  };
  return { sample, prompt, members: [first, ...members], label: { form, role, active } };
}

/** The label as a response of its group; undefined where the group does without it. */
function joinGroup(
  { config, scorer: scorers }: StepContext,
  question: Question,
  response: Response,
  rollouts: readonly Terms[],
): ControlledLabel | undefined {
  const scorer = scorerOf(scorers, question.sample);
  const terms = scoreTerms(scorer, response, question);
  if (config.label.inject === 'on-failure' && !allFailed(scorer.task, terms, rollouts)) return undefined;
  return controlLabel(scorer, terms, rollouts, config.label);
}
