/**
 * The paradigms: what a step is for, with which weights of its losses. A schedule never computes a loss.
 *
 * They differ in two things only: mu, the share of SFT in the loss of a step (mix.ts), and where the label stands. A
 * `target` is imitated beside the group, a `member` is one of the responses that advantages are computed over. What else
 * tells published methods apart are settings of label control and of the objective, which a paradigm has defaults for
 * (config/schema.ts).
 */
import type { LossWeights } from '../objective/objective.ts';
import type { LabelPlace } from '../types.ts';
import { gradualMix, roundWeight, type MixConfig } from './mix.ts';

/** What a schedule reads of a configuration. */
export interface ParadigmConfig {
  /** Its name. */
  readonly paradigm: string;
  /** Infinite until the data have decided how many steps `epochs` are. */
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

/** A contradiction between keys. */
export interface Fault {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export interface ParadigmDefinition {
  readonly name: string;
  /** Whether some steps sample rollouts. */
  readonly samples: boolean;
  /** Where the label stands in the steps that have one. */
  readonly label: LabelPlace | 'none';
  /** The work of a step; steps count from 1. */
  readonly work: (config: ParadigmConfig, step: number) => StepWork;
  /** Keys and sections that it uses beside those of every paradigm that samples, or has such a label. */
  readonly keys?: readonly string[];
  /** Defaults of its own, by dotted key. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** What a configuration lacks. */
  readonly faults?: (config: ParadigmConfig) => Iterable<Fault>;
}

const workOf = (weights: LossWeights, parts: readonly StepPart[]): StepWork => ({
  ...weights,
  parts: parts.filter(({ prompts }) => prompts > 0),
});

/**
 * SFT weighs mu, RL 1 - mu; a share of the prompts carries a label. Nothing is done for a loss that weighs nothing, and a
 * step whose share rounds to no prompt is one of RL.
 */
function mixed({ rollout, promptsPerStep }: ParadigmConfig, asked: number, labelRate = 1): StepWork {
  const labelled = asked === 0 ? 0 : asked === 1 ? promptsPerStep : Math.round(labelRate * promptsPerStep);
  const mu = labelled === 0 ? 0 : asked;
  const rollouts = mu < 1 ? rollout.group : 0;
  return workOf({ rl: 1 - mu, sft: mu }, [
    { prompts: labelled, rollouts, label: 'target' },
    { prompts: promptsPerStep - labelled, rollouts, label: 'none' },
  ]);
}

/** The label is a response of the group: equations 6 to 8. */
const joined = ({ rollout, promptsPerStep }: ParadigmConfig): StepWork =>
  workOf({ rl: 1, sft: 0 }, [{ prompts: promptsPerStep, rollouts: rollout.group, label: 'member' }]);

const dividedPrompts = ({ mix, promptsPerStep }: ParadigmConfig): number => Math.round(mix.share * promptsPerStep);

/** Some prompts of a batch are for SFT, the others for RL; every prompt weighs the same. */
function divided(config: ParadigmConfig): StepWork {
  const { rollout, promptsPerStep } = config;
  const sft = dividedPrompts(config);
  const share = sft / promptsPerStep;
  return workOf({ rl: 1 - share, sft: share }, [
    { prompts: sft, rollouts: 0, label: 'target' },
    { prompts: promptsPerStep - sft, rollouts: rollout.group, label: 'none' },
  ]);
}

function* dividedFaults(config: ParadigmConfig): Generator<Fault> {
  const [all, sft] = [config.promptsPerStep, dividedPrompts(config)];
  if (sft > 0 && sft < all) return;
  const message = `of ${all} prompts a step ${sft} are for SFT: a mixture needs prompts for SFT and for RL`;
  yield { path: ['mix', 'share'], message };
}

function* stagedFaults({ steps, sftSteps }: ParadigmConfig): Generator<Fault> {
  if (sftSteps === undefined) yield { path: ['paradigm'], message: 'sft-then-rlvr needs sftSteps' };
  else if (sftSteps >= steps) yield { path: ['sftSteps'], message: `sftSteps must be less than steps (${steps})` };
}

const joins = { samples: true, label: 'member', work: joined } as const;
const imitates = { samples: false, label: 'target', work: (config: ParadigmConfig) => mixed(config, 1) } as const;
const both = { samples: true, label: 'target' } as const;

/** Those that are published, by name. */
const definitions = {
  visurf: joins,
  rlvr: { samples: true, label: 'none', work: (config) => mixed(config, 0) },
  sft: imitates,
  'sft-then-rlvr': {
    ...both,
    work: (config, step) => mixed(config, step <= (config.sftSteps ?? 0) ? 1 : 0),
    faults: stagedFaults,
  },
  interleaved: { ...both, work: (config, step) => mixed(config, roundWeight(config.mix.round, step)) },
  progressive: {
    ...both,
    work: (config, step) => {
      const { weight, labelRate } = gradualMix(config.mix, config.steps, step);
      return mixed(config, weight, labelRate);
    },
  },
  'data-mixing': { ...both, work: divided, faults: dividedFaults },
  's-grpo': joins,
  luffy: joins,
  chord: { ...both, work: (config, step) => mixed(config, gradualMix(config.mix, config.steps, step).weight) },
  dft: imitates,
} as const satisfies Readonly<Record<string, Omit<ParadigmDefinition, 'name'>>>;

/** The paradigms of this library; plugins add others (registry.ts). */
export type Paradigm = keyof typeof definitions;
export const PARADIGMS = Object.keys(definitions) as Paradigm[];

export const published: readonly ParadigmDefinition[] = PARADIGMS.map((name) => ({ name, ...definitions[name] }));
