/** Is the rival the same method? One step of ours, which it repeats with the same responses, and what may differ. */
import { join } from 'node:path';
import { saveSafetensors, scope } from '../packages/torch/src/index.ts';
import type { Config } from '../packages/core/src/config/schema.ts';
import { loadLocalPolicy } from '../packages/core/src/policy.ts';
import { stepWork } from '../packages/core/src/schedule/paradigm.ts';
import { trainStep } from '../packages/core/src/step.ts';
import type { Label, ScoredRollout } from '../packages/core/src/types.ts';
import { makeOptimizer, trainable } from '../packages/core/src/update/optimizer.ts';
import type { Prepared } from './rival-prepare.ts';
import type { Replay } from './rival-workload.ts';

/** What the rival found when it repeated our step: largest differences, and that of the gradient as a share of its norm. */
export interface Differences {
  readonly rewards: number;
  /** From (r - mean) / (std + 1e-4), as TRL has it. */
  readonly advantagesClosedForm: number;
  /** From ours, with 1e-6. */
  readonly advantagesOurs: number;
  readonly gradient: number;
}

/** The last two hold what 1e-4 beside a std of 0.1 and more does to an advantage, and nothing else. */
const allowed: Differences = { rewards: 1e-9, advantagesClosedForm: 1e-4, advantagesOurs: 2e-3, gradient: 2e-3 };

/** Largest difference of a weight to that of a run of the rival's that was not stopped. */
export interface Resumed {
  /** That of the same run, made again. */
  readonly again: number;
  /** That of the run, resumed from a checkpoint halfway by `resume_from_checkpoint`. */
  readonly resumed: number;
  /** The same, its model loaded from the checkpoint before. */
  readonly loaded: number;
}

/** @returns what is wrong; empty: nothing */
export const faults = (found: Differences): string[] =>
  (Object.keys(allowed) as (keyof Differences)[])
    .filter((name) => !(found[name] <= allowed[name]))
    .map((name) => `${name}: ${found[name]}, more than ${allowed[name]}`);

const replayed = ({ reward, advantage, response: { tokens } }: Label | ScoredRollout) => ({
  reward,
  advantage,
  tokens,
});

/** Makes one step of ours, as `visurf train` does, and keeps what the rival needs to repeat it. */
export async function stepOfOurs(
  config: Config,
  { samples, scorer, indices }: Prepared,
  folder: string,
): Promise<Replay> {
  using policy = loadLocalPolicy(config.model, config.data);
  const parameters = trainable(policy.model, config.train);
  const optimizer = makeOptimizer(parameters, config.optimizer);
  const learner = { model: policy.model, reference: undefined, parameters, optimizer };
  const batch = { samples: indices.map((index) => samples[index]!), indices };
  const { learningRate } = config.optimizer;
  const context = { config, policy, scorer, learner };
  const { groups } = await trainStep(context, () => batch, 1, stepWork(config, 1), learningRate, []);
  const moments = join(folder, 'moments.safetensors');
  scope(() => saveSafetensors(moments, optimizer.state()));
  optimizer.dispose();
  return {
    moments,
    groups: groups.map(({ label, rollouts }) => [
      ...(label ? [{ kind: 'label' as const, ...replayed(label) }] : []),
      ...rollouts.map((rollout) => ({ kind: 'rollout' as const, ...replayed(rollout) })),
    ]),
  };
}
