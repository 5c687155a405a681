/** Weights for other programs: a directory that transformers and vLLM open as a model, or PEFT as an adapter. */
import { join } from 'node:path';

import { openSafetensors, saveShardedSafetensors, scope, type FloatDType, type Tensor } from '@visurf/torch';

import { UserError } from '../errors.ts';
import { mergedParameters } from '../model/lora.ts';
import { adapterFiles, type PeftConfig } from '../model/peft.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';
import type { Settings } from '../question/settings.ts';
import { statedDtype } from './config.ts';
import { writeDirectory } from './directory.ts';
import { dtypeFor, leftOut } from './dtypes.ts';
import { byName, companionFiles, type Writers } from './huggingface.ts';
import { withExperiment } from './experiment.ts';
import type { PixelLimits } from './processor.ts';

const exportDtypes = ['float32', 'bfloat16', 'float16', 'float64'] as const;
export type ExportDtype = (typeof exportDtypes)[number];

export interface ExportOptions extends PixelLimits {
  /** Dtype of full weights; unset: the one that the checkpoint's `config.json` states. */
  readonly dtype?: ExportDtype | undefined;
  /** Full weights of more bytes are cut into several files; 5 GB unless said. */
  readonly maxShardBytes?: number | undefined;
  /** Merge the adapter into the weights; otherwise a policy with an adapter is exported as the adapter alone. */
  readonly merge?: boolean | undefined;
}

export interface Exported {
  readonly directory: string;
  /** What the directory holds. */
  readonly kind: 'model' | 'adapter';
  /** Dtype of full weights. */
  readonly dtype?: ExportDtype;
  readonly files: readonly string[];
  /** What the checkpoint has and the export has not. */
  readonly note?: string;
}

/** A policy, as far as an export needs it. */
export interface Exportable {
  /** Where its configuration, tokenizer and processor are. */
  readonly directory: string;
  readonly model: VisionLanguageModel;
  readonly peft: PeftConfig | undefined;
  /** What it was trained by: what is exported is measured as it was. */
  readonly settings?: Settings | undefined;
}

/**
 * Writes a policy to a new or empty directory, which appears whole or not at all.
 * @throws UserError where the directory is not empty, there is no adapter to merge, or one alone is asked for in a dtype
 * @example
 * using policy = await loadPolicy('runs/cars/checkpoints/000200');
 * exportModel(policy, 'cars-merged', { merge: true, dtype: 'bfloat16' });
 */
export function exportModel(policy: Exportable, directory: string, options: ExportOptions = {}): Exported {
  const { merge = false } = options;
  if (merge && !policy.peft) throw new UserError('the model has no adapter to merge', { where: policy.directory });
  if (policy.peft && !merge && (options.minPixels ?? options.maxPixels) !== undefined) {
    throw new UserError('an adapter has no processor whose limits of pixels could be written', {
      where: policy.directory,
      remedy: 'Leave the limits out, or merge the adapter into the weights.',
    });
  }
  if (policy.peft && !merge && options.dtype) {
    throw new UserError(`an adapter is written as it is, not in ${options.dtype}`, {
      where: policy.directory,
      remedy: 'Leave the dtype out, or merge the adapter into the weights.',
    });
  }
  const dtype = policy.peft && !merge ? undefined : (options.dtype ?? ownDtype(policy.directory));
  let note: string | undefined;
  const written = writeDirectory(directory, (aside) => {
    if (dtype) note = writeModel(policy, aside, dtype, options);
    else for (const [name, write] of Object.entries(adapterOf(policy))) write(join(aside, name));
  });
  return { kind: dtype ? 'model' : 'adapter', ...(dtype && { dtype }), ...written, ...(note && { note }) };
}

/** @returns what is left out */
function writeModel(policy: Exportable, target: string, dtype: FloatDType, options: ExportOptions): string | undefined {
  const { model, directory, settings } = policy;
  const { family } = model.config;
  using from = openSafetensors(directory);
  const companions = withExperiment(
    companionFiles(model.config.text.tiedHead, directory, dtype),
    family,
    settings,
    options,
  );
  for (const [name, write] of Object.entries(companions)) write(join(target, name));
  scope(() => {
    const original = (key: string): Tensor => from.get(family.keys.inFile(key).find((each) => from.has(each)) ?? key);
    const weights = mergedParameters(model, (each, key) => cast(each, dtypeFor(key, dtype, family, from)), original);
    saveShardedSafetensors(target, byName(weights, family.keys), options.maxShardBytes);
  });
  return leftOut(family, from);
}

const cast = (each: Tensor, dtype: FloatDType): Tensor =>
  each.dtype === dtype && each.device === 'cpu' ? each : each.detach().to({ dtype, device: 'cpu' });

function adapterOf({ model, peft, settings }: Exportable): Writers {
  if (!peft) throw new Error('no adapter');
  return withExperiment(adapterFiles(model, peft), model.config.family, settings);
}

/** The one that a model's `config.json` states. */
export function ownDtype(directory: string): ExportDtype {
  const stated = statedDtype(join(directory, 'config.json'));
  return exportDtypes.find((each) => each === stated) ?? 'float32';
}
