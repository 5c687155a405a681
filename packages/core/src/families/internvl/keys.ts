/** Names of tensors: the reference's, or the shorter ones of older files. */
import type { Keys } from '../../model/keys.ts';

/** Beginnings of paths: ours, the reference's, those of files before transformers 4.52. */
const beginnings = [
  ['visual.patch_embed.', 'model.vision_tower.embeddings.', 'vision_tower.embeddings.'],
  ['visual.blocks.', 'model.vision_tower.encoder.layer.', 'vision_tower.encoder.layer.'],
  ['visual.merger.', 'model.multi_modal_projector.', 'multi_modal_projector.'],
  ['model.', 'model.language_model.', 'language_model.model.'],
  ['lm_head.', 'lm_head.', 'language_model.lm_head.'],
] as const;

function renamed(path: string, from: 0 | 1 | 2, to: 0 | 1 | 2): string | undefined {
  const names = beginnings.find((each) => path.startsWith(each[from]));
  return names && names[to] + path.slice(names[from].length);
}

const reference = (path: string): string => renamed(path, 0, 1) ?? path;

export const keys: Keys = {
  inFile: (key) => [reference(key), renamed(key, 0, 2) ?? key],
  reference,
  // A name that is ours already stays so: `model.layers` begins as no other name does.
  own: (path) => renamed(path, 1, 0) ?? renamed(path, 2, 0) ?? path,
};
