/** The work of every step as its paradigm has it, and what follows from all of it. */
import { messageOf, UserError } from '../errors.ts';
import { PARADIGMS, type Fault, type ParadigmConfig, type StepPart, type StepWork } from './definitions.ts';
import { definitionOf } from './registry.ts';

export { PARADIGMS } from './definitions.ts';
export type { Fault, Paradigm, ParadigmConfig, StepPart, StepWork } from './definitions.ts';

/** The part of every prompt of a batch. */
export const promptParts = ({ parts }: StepWork): StepPart[] =>
  parts.flatMap((part) => Array.from({ length: part.prompts }, () => part));

/** Whether the label is a response of its group, so that it must be able to win. */
export const joinsGroups = (config: Pick<ParadigmConfig, 'paradigm'>): boolean =>
  definitionOf(config).label === 'member';

/**
 * The work of a step; steps count from 1.
 * @throws UserError where a paradigm of a plugin gives none that can be done
 */
export function stepWork(config: ParadigmConfig, step: number): StepWork {
  const work = workAt(config, step);
  if (typeof work === 'string') throw new UserError(`the paradigm ${config.paradigm}, step ${step}: ${work}`);
  return work;
}

/** The work of a step, or what is wrong with it. */
function workAt(config: ParadigmConfig, step: number): StepWork | string {
  const definition = definitionOf(config);
  try {
    const work = definition.work(config, step);
    return workFault(work, config, definition) ?? work;
  } catch (error) {
    return messageOf(error);
  }
}

const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
const isWeight = (value: unknown): boolean => Number.isFinite(value) && (value as number) >= 0;

/** What contradicts the configuration, or itself. */
function workFault(
  { rl, sft, parts }: StepWork,
  { promptsPerStep, rollout }: ParadigmConfig,
  { samples, label: place }: { readonly samples: boolean; readonly label: StepPart['label'] },
): string | undefined {
  if (!isWeight(rl) || !isWeight(sft) || rl + sft === 0) {
    return `rl ${rl} and sft ${sft} are no weights: finite, not negative, one of them above 0`;
  }
  const wrong = parts.find(({ prompts, rollouts }) => !isCount(prompts) || prompts === 0 || !isCount(rollouts));
  if (wrong) return `a part has ${wrong.prompts} prompts with ${wrong.rollouts} rollouts each`;
  const prompts = parts.reduce((sum, part) => sum + part.prompts, 0);
  if (prompts !== promptsPerStep) return `its parts have ${prompts} prompts, promptsPerStep is ${promptsPerStep}`;
  for (const { rollouts, label } of parts) {
    if (rollouts !== 0 && rollouts !== rollout.group) {
      return `a part has ${rollouts} rollouts: it has rollout.group (${rollout.group}) of them, or none`;
    }
    if (rollouts > 0 && !samples) return 'it samples, and its paradigm says samples: false';
    if (label !== 'none' && label !== place) return `its label is a ${label}, and its paradigm says label: ${place}`;
    if (rollouts === 0 && label !== 'target') return `prompts have neither rollouts nor a target`;
    if (sft === 0 && label === 'target') return 'labels are imitated, and sft weighs nothing';
  }
  if (rl > 0 && parts.every(({ rollouts }) => rollouts === 0)) return 'RL weighs something, and nothing is sampled';
  if (sft > 0 && parts.every(({ label }) => label !== 'target')) return 'SFT weighs something, and has no labels';
  return undefined;
}

/** Steps looked at to find the busiest: longer schedules repeat, or change slowly. */
const LOOKED_AT = 10_000;

const steps = (config: ParadigmConfig): number[] =>
  Array.from({ length: Math.min(config.steps, LOOKED_AT) }, (_, i) => i + 1);

const allParts = (config: ParadigmConfig): StepPart[] => steps(config).flatMap((step) => stepWork(config, step).parts);

/** The part of all steps that has most responses for a prompt. */
export function busiestPart(config: ParadigmConfig): StepPart {
  const responses = ({ rollouts, label }: StepPart): number => rollouts + (label === 'none' ? 0 : 1);
  return allParts(config).reduce((a, b) => (responses(b) > responses(a) ? b : a));
}

/** Whether some step writes labels of prompts for which nothing is sampled, so that no rollouts show a form. */
export const labelsAlone = (config: ParadigmConfig): boolean => allParts(config).some(({ rollouts }) => rollouts === 0);

/** Faults of a configuration: what its paradigm lacks. */
export function* paradigmFaults(config: ParadigmConfig): Generator<Fault> {
  const { paradigm, rollout, label } = config;
  const { samples, label: place, faults } = definitionOf(config);
  yield* faults?.(config) ?? [];
  const alone = place !== 'member' || label.inject === 'on-failure';
  if (samples && alone && rollout.group < 2) {
    const message = 'RL compares the rollouts of a prompt: group must be at least 2';
    yield { path: ['rollout', 'group'], message };
  }
  // Those of this library are tested; a plugin's schedule is tried before it trains.
  if (PARADIGMS.some((each) => each === paradigm)) return;
  for (const step of steps(config)) {
    const work = workAt(config, step);
    if (typeof work !== 'string') continue;
    yield { path: ['paradigm'], message: `${paradigm}, step ${step}: ${work}` };
    return;
  }
}

/** @throws UserError where the paradigm lacks what it needs */
export function checkParadigm(config: ParadigmConfig): void {
  const [fault] = paradigmFaults(config);
  if (fault) throw new UserError(fault.message, { where: fault.path.join('.') });
}
