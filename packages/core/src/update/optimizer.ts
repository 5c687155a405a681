/** The optimiser of a run, and the parameters that it may move. */
import { optim, type Tensor } from '@visurf/torch';

import type { Config } from '../config/schema.ts';
import { isVision } from '../model/keys.ts';
import { adapterParameters } from '../model/lora.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';

/**
 * Parameters by checkpoint key; with a frozen vision tower its parameters take no gradient and are left out. Of a model
 * with adapters only these are trained.
 */
export function trainable(
  model: VisionLanguageModel,
  { freezeVision }: Pick<Config['train'], 'freezeVision'>,
): Map<string, Tensor> {
  const adapters = adapterParameters(model);
  if (adapters.size > 0) return adapters;
  const named = model.namedParameters();
  for (const [key, parameter] of named) {
    const frozen = freezeVision && isVision(key);
    parameter.requiresGrad_(!frozen);
    if (frozen) named.delete(key);
  }
  return named;
}

/** @param sizeOf elements of the parameters, of which `named` has slices */
export function makeOptimizer(
  named: ReadonlyMap<string, Tensor>,
  config: Config['optimizer'],
  sizeOf?: (name: string) => number,
): optim.Optimizer {
  const { name, learningRate, betas, weightDecay, states } = config;
  switch (name) {
    case 'adamw': {
      const options = { learningRate, betas, weightDecay };
      return states === '8bit'
        ? new optim.AdamW8bit(named, { ...options, ...(sizeOf && { sizeOf }) })
        : new optim.AdamW(named, options);
    }
    case 'sgd':
      return new optim.SGD(named, { learningRate, weightDecay });
  }
}
