/** Names of tensors: the tower and what follows it are `visual.*` in memory, three modules of the model in files. */
import type { Keys } from '../keys.ts';

/** Beginnings of paths, ours and the reference's; what begins with neither is called alike. */
const beginnings: readonly (readonly [own: string, reference: string])[] = [
  ['visual.patch_embed.', 'model.vision_model.embeddings.'],
  ['visual.blocks.', 'model.vision_model.encoder.layers.'],
  ['visual.post_layernorm', 'model.vision_model.post_layernorm'],
  ['visual.merger.', 'model.connector.modality_projection.'],
  ['model.', 'model.text_model.'],
];

function renamed(path: string, from: 0 | 1): string {
  const pair = beginnings.find((each) => path.startsWith(each[from]));
  return pair ? pair[1 - from]! + path.slice(pair[from].length) : path;
}

const reference = (path: string): string => renamed(path, 0);

export const keys: Keys = {
  inFile: (key) => [reference(key)],
  reference,
  // A name that is ours already stays so: `model.layers` begins as no name of the reference does.
  own: (path) => renamed(path, 1),
};
