/** The models that a run begins with: the policy, and the reference of a KL penalty. */
import { join } from 'node:path';

import { noGrad, SafetensorsFile, scope, type FloatDType, type optim, type Tensor } from '@visurf/torch';

import type { Config } from './config/schema.ts';
import { loadModel } from './families/load.ts';
import { adaptersOf, baseParameters } from './model/lora.ts';
import { adapterTensors, adapterWeightsFile, keepStart, settingsOf } from './model/peft.ts';
import type { VisionLanguageModel } from './model/vlm.ts';
import { requireSameAdapter } from './plan/refusals.ts';
import { loadLocalPolicy, type LocatedModel, type Policy } from './policy.ts';
import type { Checkpoint } from './run/checkpoint.ts';
import { halveProducts } from './update/masters.ts';
import { ShardedOptimizer } from './update/sharded-optimizer.ts';

/** What a run begins with, or goes on with: a whole model, or one with an adapter, new or trained before. */
export function loadStart({ base, adapter }: LocatedModel, checkpoint: Checkpoint | undefined, config: Config): Policy {
  const { device, precision, stream } = config;
  const { lora } = config.train;
  const usesAdapter = lora !== undefined || adapter !== undefined;
  // With LoRA the weights do not change: those that are saved in bfloat16 need no float32 beside it.
  const options = { ...config.data, device, precision, stream, dtype: usesAdapter ? 'auto' : 'float32' } as const;
  const saved = checkpoint?.directory;
  const policy = usesAdapter
    ? loadLocalPolicy(base, { ...options, adapter: saved ?? adapter, quantize: lora?.quantize })
    : loadLocalPolicy(saved ?? base, options);
  try {
    if (adapter === undefined) {
      if (lora && !saved) policy.addAdapter(lora, config.seed);
      return policy;
    }
    const modules = [...adaptersOf(policy.model).keys()];
    if (policy.peft) requireSameAdapter(policy.model, { ...settingsOf(policy.peft), modules }, lora);
    const { coefficient, reference } = config.objective.kl;
    if (coefficient > 0 && reference === 'start') keepStart(policy.model, adapter);
    return policy;
  } catch (error) {
    policy[Symbol.dispose]();
    throw error;
  }
}

/** The reference policy of a KL penalty: a second model, or the same as `asReference` has it. */
export function referenceOf(
  { model, peft }: Policy,
  { objective, model: directory }: Config,
): VisionLanguageModel | undefined {
  if (objective.kl.coefficient === 0) return undefined;
  if (peft) return model;
  const dtype = model.precision === 'bfloat16' ? 'auto' : (model.dtype as FloatDType);
  const reference = loadModel(directory, { device: model.device, dtype });
  reference.precision = model.precision;
  reference._stream = model._stream;
  halveProducts(reference);
  return reference;
}

/** Gives the weights that are trained, and the optimiser, what a checkpoint holds. */
export function restore({ model, peft }: Policy, optimizer: optim.Optimizer, directory: string): void {
  using saved = new SafetensorsFile(join(directory, peft ? adapterWeightsFile : 'model.safetensors'));
  const { keys } = model.config.family;
  const inFile = (key: string): Tensor => saved.get(keys.inFile(key)[0] ?? key);
  scope(() =>
    noGrad(() => {
      if (peft) for (const [name, tensor] of adapterTensors(model)) tensor.copy_(saved.get(name));
      else for (const [key, tensor] of baseParameters(model)) tensor.copy_(inFile(key));
    }),
  );
  if (optimizer instanceof ShardedOptimizer) optimizer.loadMasters(inFile);
  model.weightsChanged();
  loadOptimizer(optimizer, directory);
}

export const optimizerFile = 'optimizer.safetensors';

export function loadOptimizer(optimizer: optim.Optimizer, directory: string): void {
  using saved = new SafetensorsFile(join(directory, optimizerFile));
  scope(() => optimizer.loadState(new Map(saved.names.map((name): [string, Tensor] => [name, saved.get(name)]))));
}
