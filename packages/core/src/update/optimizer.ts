/** The optimiser of a run, and the parameters that it may move. */
import { optim, type Tensor } from '@visurf/torch';

import type { Config } from '../config/schema.ts';
import type { QwenVL } from '../model/qwen.ts';

/** Parameters by checkpoint key; with a frozen vision tower its parameters take no gradient and are left out. */
export function trainable(model: QwenVL, { freezeVision }: Config['train']): Map<string, Tensor> {
  const named = model.namedParameters();
  for (const [key, parameter] of named) {
    const frozen = freezeVision && key.startsWith('visual.');
    parameter.requiresGrad_(!frozen);
    if (frozen) named.delete(key);
  }
  return named;
}

export function makeOptimizer(named: ReadonlyMap<string, Tensor>, config: Config['optimizer']): optim.Optimizer {
  const { name, learningRate, betas, weightDecay } = config;
  switch (name) {
    case 'adamw':
      return new optim.AdamW(named, { learningRate, betas, weightDecay });
    case 'sgd':
      return new optim.SGD(named, { learningRate, weightDecay });
  }
}
