/** A model directory in Hugging Face layout becomes a model: every tensor is copied once, and every mistake is named. */
import { noGrad, openSafetensors, scope, TorchError, type Device, type FloatDType } from '@visurf/torch';

import { UserError } from '../errors.ts';
import { loadModelConfig } from './config.ts';
import { QwenVL } from './qwen.ts';

export interface LoadOptions {
  readonly dtype?: FloatDType;
  readonly device?: Device;
}

/** In memory the reference says `model.language_model.*` and `model.visual.*`; files usually say the shorter names. */
function fileKeys(key: string): string[] {
  if (key.startsWith('visual.')) return [key, `model.${key}`];
  if (key.startsWith('model.')) return [key, `model.language_model.${key.slice('model.'.length)}`];
  return [key];
}

const listed = (names: readonly string[]): string =>
  names.slice(0, 5).join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : '');

/**
 * Loads config and weights. Weights are converted to `dtype` (float32 unless said).
 * @throws UserError when files or tensors are missing, extra, misshapen or truncated.
 */
export function loadModel(directory: string, { dtype = 'float32', device = 'cpu' }: LoadOptions = {}): QwenVL {
  const config = loadModelConfig(directory);
  try {
    using weights = openSafetensors(directory);
    const model = new QwenVL(config);
    if (dtype !== 'float32' || device !== 'cpu') model.moveTo(dtype, device);
    const unused = new Set(weights.names);
    const missing: string[] = [];
    noGrad(() => {
      for (const [key, parameter] of model.namedParameters()) {
        const name = fileKeys(key).find((each) => weights.has(each));
        if (name === undefined) {
          missing.push(key);
          continue;
        }
        unused.delete(name);
        scope(() => {
          const saved = weights.get(name);
          if (saved.shape.join() !== parameter.shape.join()) {
            throw new UserError(
              `tensor ${name} has shape [${saved.shape.join(', ')}], config.json asks for [${parameter.shape.join(', ')}]`,
              {
                where: directory,
              },
            );
          }
          parameter.copy_(saved);
        });
      }
    });
    if (config.text.tiedHead) unused.delete('lm_head.weight');
    const remedy = 'config.json and the weights must come from the same checkpoint';
    if (missing.length > 0)
      throw new UserError(`the weights lack ${listed(missing)}`, {
        where: directory,
        remedy,
      });
    if (unused.size > 0)
      throw new UserError(`the weights hold tensors that the model has no place for: ${listed([...unused])}`, {
        where: directory,
        remedy,
      });
    return model;
  } catch (error) {
    if (error instanceof TorchError) throw new UserError(error.message, { where: directory, cause: error });
    throw error;
  }
}
