/**
 * Algorithm 1 of ViSurf: one step of training, in the order of the data. This file alone knows that order; every stage
 * is a function of plain data, and the paradigms differ by the terms of the step (schedule/) only.
 */
import type { Config } from './config/schema.ts';
import {
  countForms,
  labelTexts,
  mostLikely,
  preferredForm,
  rememberStep,
  writeLabel,
  type FormHistory,
  type LabelText,
} from './label/align.ts';
import { controlLabel } from './label/control.ts';
import { groupAdvantages } from './objective/advantage.ts';
import type { Policy } from './policy.ts';
import { scoreTerms, totalReward, type Scorer, type Subject } from './reward/reward.ts';
import type { StepTerms } from './schedule/paradigm.ts';
import { fillTemplate } from './tasks/template.ts';
import type { Group, Member, Prompt, Rollout, Sample, Terms } from './types.ts';
import { logProbs, updatePolicy, type Learner, type UpdateResult } from './update/update.ts';

/** Everything that a step reads; `forms` is the only part it changes, by returning the next. */
export interface StepContext {
  readonly config: Config;
  readonly policy: Policy;
  readonly learner: Learner;
  readonly scorer: Scorer;
}

/** A sample with its prompt and its parsed label. */
export interface Question extends Subject {
  readonly prompt: Prompt;
}

export interface StepResult {
  readonly groups: readonly Group[];
  readonly update: UpdateResult;
  readonly forms: FormHistory;
  /** Seconds by phase. */
  readonly seconds: Readonly<Record<'prompt' | 'rollout' | 'reward' | 'update', number>>;
}

/** @param step counts from 1 @param indices places of the samples in the dataset; they key the sampling noise */
export async function trainStep(
  context: StepContext,
  samples: readonly Sample[],
  indices: readonly number[],
  step: number,
  terms: StepTerms,
  learningRate: number,
  forms: FormHistory,
): Promise<StepResult> {
  const clock = stopwatch();
  const questions = await Promise.all(samples.map((sample) => ask({ ...context, ...context.config.data }, sample)));
  const prompt = clock();
  const rollouts = await sampleRollouts(context, questions, indices, step, terms);
  const rollout = clock();
  const labels = terms.label ? alignLabels(context, questions, forms) : [];
  const groups = questions.map((question, i) => controlGroup(context, question, rollouts[i] ?? [], labels[i], terms));
  const reward = clock();
  const update = await updatePolicy(context.learner, groups, terms, context.config, learningRate, {
    seed: context.config.seed,
    step,
  });
  const texts = rollouts.flat().map(({ text }) => text);
  const seconds = { prompt, rollout, reward, update: clock() };
  return { groups, update, forms: rememberStep(forms, countForms(context.scorer.task, texts)), seconds };
}

function stopwatch(): () => number {
  let last = performance.now();
  return () => {
    const now = performance.now();
    const seconds = (now - last) / 1000;
    last = now;
    return seconds;
  };
}

/** What asks a question: the policy's eyes, the task, and a prompt template in place of the task's own. */
export interface Asking {
  readonly policy: Pick<Policy, 'encoder'>;
  readonly scorer: Scorer;
  readonly prompt?: string | undefined;
  readonly system?: string | undefined;
}

/** sample -> prompt and truth. A sample may bring its own template in its field `prompt`; the config's wins. */
export async function ask({ policy, scorer, prompt: template, system }: Asking, sample: Sample): Promise<Question> {
  const { task } = scorer;
  const where = `${sample.source.file}:${sample.source.line} (${sample.id})`;
  const { prompt: own } = sample.extra;
  const chosen = template ?? (typeof own === 'string' ? own : task.template);
  const problem = fillTemplate(chosen, task.variables(sample.problem));
  const prompt = await policy.encoder.encode({ problem, images: sample.images, system }, where);
  return { sample, prompt, frames: prompt.frames, truth: task.parseTruth(sample, prompt.frames) };
}

/** v, t -> o_1 .. o_G ~ pi_old, [B][G] */
async function sampleRollouts(
  { config, policy }: StepContext,
  questions: readonly Question[],
  indices: readonly number[],
  step: number,
  { rollouts }: StepTerms,
): Promise<Rollout[][]> {
  if (rollouts === 0) return questions.map(() => []);
  const prompts = questions.map(({ prompt }) => prompt);
  return policy.sample(prompts, { ...config.rollout, group: rollouts, seed: config.seed, step, promptIds: indices });
}

/** Align: the label in the surface form that the policy prefers. [B] */
function alignLabels(
  { config, policy, scorer: { task } }: StepContext,
  questions: readonly Question[],
  forms: FormHistory,
): LabelText[] {
  if (config.label.align !== 'likelihood') {
    const form = preferredForm(task, config.label.align === 'off' ? [] : forms);
    return questions.map(({ truth, frames }) => writeLabel(task, form, truth, frames));
  }
  return questions.map(({ prompt, truth, frames }) => {
    const labels = labelTexts(task, truth, frames);
    const responses = labels.map(({ text }) => policy.write(text).tokens);
    const flat = Array.from(logProbs(policy.model, [{ prompt, responses }]));
    const totals = responses.map(({ length }) => flat.splice(0, length).reduce((a, b) => a + b, 0));
    return mostLikely(labels, totals);
  });
}

/** r, then eliminate and smooth, then advantages over {y, o_1 .. o_G} (equations 2, 6, 7). */
function controlGroup(
  { config, policy, scorer }: StepContext,
  question: Question,
  rollouts: readonly Rollout[],
  label: LabelText | undefined,
  { stage }: StepTerms,
): Group {
  const { sample, prompt } = question;
  const termsOf = (answer: Pick<Rollout, 'text' | 'stop'>): Terms => scoreTerms(scorer, answer, question);
  const scored = rollouts.map((response) => {
    const terms = termsOf(response);
    return { response, terms, reward: totalReward(terms, scorer.weights) };
  });
  const response = label && policy.write(label.text);
  const controlled =
    response && stage !== 'sft'
      ? controlLabel(
          scorer,
          termsOf(response),
          scored.map(({ terms }) => terms),
          config.label,
        )
      : undefined;
  const advantages = groupAdvantages(
    controlled,
    scored.map(({ reward }) => reward),
    config.objective.std,
  );
  const members = scored.map((each, j): Member => ({
    kind: 'rollout',
    ...each,
    advantage: advantages.rollouts[j] ?? 0,
  }));
  if (!label || !response) return { sample, prompt, members, label: undefined };
  const { terms, reward, active } = controlled ?? { terms: {}, reward: 0, active: true };
  const first: Member = { kind: 'label', response, terms, reward, advantage: advantages.label ?? 0 };
  return { sample, prompt, members: [first, ...members], label: { form: label.form, active } };
}
