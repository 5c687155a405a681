/** Which terms a step has, with which weights. A schedule never computes a loss. */
import { UserError } from '../errors.ts';
import type { TermWeights } from '../objective/objective.ts';

export const PARADIGMS = ['visurf', 'rlvr', 'sft', 'sft-then-rlvr'] as const;
export type Paradigm = (typeof PARADIGMS)[number];

export interface ParadigmConfig {
  readonly paradigm: Paradigm;
  readonly steps: number;
  /** Steps of supervised fine-tuning that come first in `sft-then-rlvr`. */
  readonly sftSteps?: number | undefined;
  readonly rollout: { readonly group: number };
}

/** What one step does. */
export interface StepTerms extends TermWeights {
  readonly stage: 'visurf' | 'rlvr' | 'sft';
  /** G of the group; 0 where nothing is sampled. */
  readonly rollouts: number;
  /** Whether the label is a member of the group. */
  readonly label: boolean;
}

/** @throws UserError where the paradigm lacks what it needs */
export function checkParadigm({ paradigm, steps, sftSteps, rollout }: ParadigmConfig): void {
  if (paradigm === 'sft-then-rlvr') {
    if (sftSteps === undefined || sftSteps < 1 || sftSteps >= steps) {
      throw new UserError(`sft-then-rlvr needs sftSteps between 1 and ${steps - 1}`, { where: 'sftSteps' });
    }
  } else if (sftSteps !== undefined) {
    throw new UserError(`the paradigm ${paradigm} has no sftSteps`, { where: 'sftSteps', remedy: 'leave it out' });
  }
  const least = { visurf: 1, rlvr: 2, sft: 0, 'sft-then-rlvr': 2 }[paradigm];
  if (rollout.group < least) {
    throw new UserError(
      `${paradigm} compares the rollouts of a prompt: it needs at least ${least}, not ${rollout.group}`,
      {
        where: 'rollout.group',
      },
    );
  }
}

/** The terms of a step; steps count from 1. */
export function stepTerms({ paradigm, sftSteps = 0, rollout }: ParadigmConfig, step: number): StepTerms {
  const stage = paradigm === 'sft-then-rlvr' ? (step <= sftSteps ? 'sft' : 'rlvr') : paradigm;
  switch (stage) {
    case 'sft':
      return { stage, rollouts: 0, label: true, rl: 0, sft: 1 };
    case 'rlvr':
      return { stage, rollouts: rollout.group, label: false, rl: 1, sft: 0 };
    case 'visurf':
      return { stage, rollouts: rollout.group, label: true, rl: 1, sft: 0 };
  }
}
