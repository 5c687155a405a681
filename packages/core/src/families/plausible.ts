/** Whether `config.json` and the weights can be of one model, before anything of the size that the file claims is made. */
import type { SafetensorsIndex } from '@visurf/torch';

import { UserError } from '../errors.ts';
import type { ModelConfig } from '../model/config.ts';

/** @throws UserError where there are more layers than tensors */
export function requirePlausible({ text, vision }: ModelConfig, weights: SafetensorsIndex, where: string): void {
  const tensors = weights.names.length;
  const remedy = 'config.json and the weights must come from the same checkpoint';
  const parts = { layers: text.layers, 'blocks of the vision tower': vision.depth };
  for (const [what, count] of Object.entries(parts)) {
    if (count <= tensors) continue;
    throw new UserError(`config.json names ${count} ${what}, the weights hold ${tensors} tensors`, { where, remedy });
  }
}
