/** The learner of a training: what is trained, its optimiser, the reference of a KL penalty. */
import type { optim } from '@visurf/torch';

import { featureBytes } from '../budgets.ts';
import type { Config } from '../config/schema.ts';
import type { Processes } from '../distributed/processes.ts';
import { FeatureCache } from '../model/features.ts';
import { isVision } from '../model/keys.ts';
import type { Policy } from '../policy.ts';
import type { Checkpoint } from '../run/checkpoint.ts';
import { loadOptimizer, referenceOf } from '../start.ts';
import { shareMasters } from '../update/masters.ts';
import { makeOptimizer, trainable } from '../update/optimizer.ts';
import { ShardedOptimizer } from '../update/sharded-optimizer.ts';
import { GradientSums } from '../update/sums.ts';
import type { Learner } from '../update/update.ts';

export function openLearner(
  policy: Policy,
  config: Config,
  checkpoint: Checkpoint | undefined,
  processes: Processes,
): Learner & { readonly optimizer: optim.Optimizer } & Disposable {
  const { model } = policy;
  // Adapters are small: each process has all of their state.
  const { group } = processes;
  const sharing = policy.peft ? undefined : group;
  const masters = sharing && shareMasters(model, sharing);
  const parameters = trainable(model, config.train);
  const sharded = sharing && new ShardedOptimizer(parameters, sharing, config.optimizer, masters);
  const optimizer = sharded ?? makeOptimizer(parameters, config.optimizer);
  if (checkpoint) loadOptimizer(optimizer, checkpoint.directory);
  const reference = referenceOf(policy, config);
  if (![...parameters.keys()].some(isVision)) {
    const features = new FeatureCache(featureBytes);
    for (const each of [model, reference]) if (each) each._features = features;
  }
  return {
    ...{ model, reference, parameters, optimizer, shares: sharded?.shares },
    sums: group && !sharded ? new GradientSums(parameters, group) : undefined,
    [Symbol.dispose]: () => {
      optimizer.dispose();
      if (reference === model) return;
      reference?.weightsChanged();
      reference?.dispose();
    },
  };
}
