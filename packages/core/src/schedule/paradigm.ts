/**
 * What a step is for: the weights of its losses, and what every prompt of it is for. A schedule never computes a loss.
 *
 * Paradigms differ in two things only: mu, the share of SFT in the loss of a step (mix.ts), and where the label stands.
 * A `target` is imitated beside the group, a `member` is one of the responses that advantages are computed over. What
 * else tells published methods apart are settings of label control and of the objective, which a paradigm has defaults
 * for (config/schema.ts).
 */
import { UserError } from '../errors.ts';
import type { LossWeights } from '../objective/objective.ts';
import type { LabelPlace } from '../types.ts';
import { gradualMix, roundWeight, type MixConfig } from './mix.ts';

export interface ParadigmConfig {
  readonly paradigm: Paradigm;
  readonly steps: number;
  readonly promptsPerStep: number;
  /** Steps of supervised fine-tuning that come first in `sft-then-rlvr`. */
  readonly sftSteps?: number | undefined;
  readonly rollout: { readonly group: number };
  readonly label: { readonly inject: 'always' | 'on-failure' };
  readonly mix: MixConfig;
}

/** Prompts of a step that are for the same. */
export interface StepPart {
  readonly prompts: number;
  /** G; 0 where nothing is sampled. */
  readonly rollouts: number;
  readonly label: LabelPlace | 'none';
}

/** The work of one step. */
export interface StepWork extends LossWeights {
  /** Parts in the order of the batch; those without prompts are left out. */
  readonly parts: readonly StepPart[];
}

/** The part of every prompt of a batch. */
export const promptParts = ({ parts }: StepWork): StepPart[] =>
  parts.flatMap((part) => Array.from({ length: part.prompts }, () => part));

type Schedule = (config: ParadigmConfig, step: number) => StepWork;

const work = (weights: LossWeights, parts: readonly StepPart[]): StepWork => ({
  ...weights,
  parts: parts.filter(({ prompts }) => prompts > 0),
});

/** SFT weighs mu, RL 1 - mu; a share of the prompts carries a label. Nothing is done for a loss that weighs nothing. */
function mixed({ rollout, promptsPerStep }: ParadigmConfig, mu: number, labelRate = 1): StepWork {
  const rollouts = mu < 1 ? rollout.group : 0;
  const labelled = mu === 0 ? 0 : mu === 1 ? promptsPerStep : Math.round(labelRate * promptsPerStep);
  return work({ rl: 1 - mu, sft: mu }, [
    { prompts: labelled, rollouts, label: 'target' },
    { prompts: promptsPerStep - labelled, rollouts, label: 'none' },
  ]);
}

/** The label is a response of the group: equations 6 to 8. */
const joined: Schedule = ({ rollout, promptsPerStep }) =>
  work({ rl: 1, sft: 0 }, [{ prompts: promptsPerStep, rollouts: rollout.group, label: 'member' }]);

/** Some prompts of a batch are for SFT, the others for RL; every prompt weighs the same. */
const divided: Schedule = ({ rollout, promptsPerStep, mix }) => {
  const sft = Math.round(mix.share * promptsPerStep);
  const share = sft / promptsPerStep;
  return work({ rl: 1 - share, sft: share }, [
    { prompts: sft, rollouts: 0, label: 'target' },
    { prompts: promptsPerStep - sft, rollouts: rollout.group, label: 'none' },
  ]);
};

interface Definition {
  readonly schedule: Schedule;
  /** Whether some steps sample rollouts. */
  readonly samples: boolean;
  readonly label: LabelPlace | 'none';
}

const definitions = {
  visurf: { schedule: joined, samples: true, label: 'member' },
  rlvr: { schedule: (config) => mixed(config, 0), samples: true, label: 'none' },
  sft: { schedule: (config) => mixed(config, 1), samples: false, label: 'target' },
  'sft-then-rlvr': {
    schedule: (config, step) => mixed(config, step <= (config.sftSteps ?? 0) ? 1 : 0),
    samples: true,
    label: 'target',
  },
  interleaved: {
    schedule: (config, step) => mixed(config, roundWeight(config.mix.round, step)),
    samples: true,
    label: 'target',
  },
  progressive: {
    schedule: (config, step) => {
      const { weight, labelRate } = gradualMix(config.mix, config.steps, step);
      return mixed(config, weight, labelRate);
    },
    samples: true,
    label: 'target',
  },
  'data-mixing': { schedule: divided, samples: true, label: 'target' },
  's-grpo': { schedule: joined, samples: true, label: 'member' },
  luffy: { schedule: joined, samples: true, label: 'member' },
  chord: {
    schedule: (config, step) => mixed(config, gradualMix(config.mix, config.steps, step).weight),
    samples: true,
    label: 'target',
  },
  dft: { schedule: (config) => mixed(config, 1), samples: false, label: 'target' },
} as const satisfies Readonly<Record<string, Definition>>;

export type Paradigm = keyof typeof definitions;
export const PARADIGMS = Object.keys(definitions) as Paradigm[];

/** The paradigms of which this holds. */
export const paradigmsWith = (holds: (definition: Pick<Definition, 'samples' | 'label'>) => boolean): Paradigm[] =>
  PARADIGMS.filter((each) => holds(definitions[each]));

/** Whether the label is a response of its group, so that it must be able to win. */
export const joinsGroups = ({ paradigm }: Pick<ParadigmConfig, 'paradigm'>): boolean =>
  definitions[paradigm].label === 'member';

/** The work of a step; steps count from 1. */
export const stepWork = (config: ParadigmConfig, step: number): StepWork =>
  definitions[config.paradigm].schedule(config, step);

/** Steps looked at to find the busiest: longer schedules repeat, or change slowly. */
const LOOKED_AT = 10_000;

const allParts = (config: ParadigmConfig): StepPart[] =>
  Array.from({ length: Math.min(config.steps, LOOKED_AT) }, (_, i) => stepWork(config, i + 1).parts).flat();

/** The part of all steps that has most responses for a prompt. */
export function busiestPart(config: ParadigmConfig): StepPart {
  const responses = ({ rollouts, label }: StepPart): number => rollouts + (label === 'none' ? 0 : 1);
  return allParts(config).reduce((a, b) => (responses(b) > responses(a) ? b : a));
}

/** Whether some step writes labels of prompts for which nothing is sampled, so that no rollouts show a form. */
export const labelsAlone = (config: ParadigmConfig): boolean =>
  allParts(config).some(({ rollouts, label }) => rollouts === 0 && label !== 'none');

export interface Fault {
  readonly path: readonly string[];
  readonly message: string;
}

/** Faults of a configuration: what its paradigm lacks. */
export function* paradigmFaults(config: ParadigmConfig): Generator<Fault> {
  const { paradigm, steps, sftSteps, rollout, label, promptsPerStep, mix } = config;
  if (paradigm === 'sft-then-rlvr' && sftSteps === undefined) {
    yield { path: ['paradigm'], message: 'sft-then-rlvr needs sftSteps' };
  } else if (paradigm === 'sft-then-rlvr' && sftSteps !== undefined && sftSteps >= steps) {
    yield { path: ['sftSteps'], message: `sftSteps must be less than steps (${steps})` };
  }
  if (paradigm === 'data-mixing') {
    const sft = Math.round(mix.share * promptsPerStep);
    if (sft === 0 || sft === promptsPerStep) {
      const message = `of ${promptsPerStep} prompts a step ${sft} are for SFT: a mixture needs prompts for SFT and for RL`;
      yield { path: ['mix', 'share'], message };
    }
  }
  const { samples, label: place } = definitions[paradigm];
  const alone = place !== 'member' || label.inject === 'on-failure';
  if (samples && alone && rollout.group < 2) {
    const message = 'RL compares the rollouts of a prompt: group must be at least 2';
    yield { path: ['rollout', 'group'], message };
  }
}

/** @throws UserError where the paradigm lacks what it needs */
export function checkParadigm(config: ParadigmConfig): void {
  const [fault] = paradigmFaults(config);
  if (fault) throw new UserError(fault.message, { where: fault.path.join('.') });
}
