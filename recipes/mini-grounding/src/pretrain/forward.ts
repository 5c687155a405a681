/** Pictures as prompts, and what the vision tower makes of them. */
import type { Prompt } from '@visurf/core';
import {
  planVision,
  promptPositions,
  resizePixels,
  writePatches,
  type ImageSettings,
  type VisionLanguageModel,
} from '@visurf/core/internals';
import { tensor, type Tensor } from '@visurf/torch';

import { SIDE } from '../scenes.ts';
import { VOCABULARY, type Vocabulary } from '../vocabulary.ts';
import { MERGE, PATCH, PATCH_CELLS, TOKEN_CELLS } from './targets.ts';

/** Of every architecture: where patches are larger, so is the picture that is shown. */
const GRID = [1, SIDE / PATCH, SIDE / PATCH] as const;

/** What comes before every question. */
const prefixOf = (vocabulary: Vocabulary): number[] =>
  ['<|im_start|>', 'user', '<|vision_start|>', ...TOKEN_CELLS.map(() => '<|image_pad|>'), '<|vision_end|>'].map(
    (token) => vocabulary.idOf(token),
  );

export const indices = (values: readonly number[]): Tensor => tensor(values, { dtype: 'int64' });

/** A picture (RGB bytes of SIDE x SIDE pixels) up to its question; questions with answers are the "responses" to it. */
export function picturePrompt(data: Uint8Array, settings: ImageSettings, vocabulary = VOCABULARY): Prompt {
  const { temporalPatchSize, patchSize } = settings;
  const side = (SIDE / PATCH) * patchSize;
  const pixelValues = new Float32Array(PATCH_CELLS.length * 3 * temporalPatchSize * patchSize ** 2);
  const shown = resizePixels({ data, width: SIDE, height: SIDE }, { width: side, height: side });
  writePatches(shown, settings, pixelValues, 0);
  const inputIds = prefixOf(vocabulary);
  const imageId = vocabulary.idOf('<|image_pad|>');
  const positionIds = promptPositions(inputIds, [GRID], { imageId, mergeSize: MERGE });
  return { rendered: '', inputIds, pixelValues, imageGridThw: [GRID], positionIds, frames: [] };
}

export interface Sight {
  /** Stream of the vision tower after its last block, patches as `PATCH_CELLS` orders them: [B * 64, its width]. */
  readonly patches: Tensor;
  /** Image tokens row by row: [B * 16, width of the decoder]. */
  readonly tokens: Tensor;
}

/** The vision tower alone. */
export function see(model: VisionLanguageModel, prompts: readonly Prompt[]): Sight {
  const pixels = prompts.map(({ pixelValues = new Float32Array() }) => pixelValues);
  const width = (pixels[0]?.length ?? 0) / PATCH_CELLS.length;
  const all = new Float32Array(pixels.length * PATCH_CELLS.length * width);
  pixels.forEach((each, i) => {
    all.set(each, i * each.length);
  });
  const { patches, features } = model.visual.encode(
    tensor(all, { shape: [pixels.length * PATCH_CELLS.length, width] }),
    prompts.map(() => GRID),
  );
  return { patches: inReadingOrder(model, patches), tokens: features[0] };
}

/** Undoes the window order of the tower's stream, [B * 64, D]. */
export function inReadingOrder(model: VisionLanguageModel, stream: Tensor): Tensor {
  const count = stream.size(0) / PATCH_CELLS.length;
  const { inverse } = planVision(Array<typeof GRID>(count).fill(GRID), model.config.vision, 'float32');
  const width = stream.size(1);
  return stream
    .view(-1, MERGE * MERGE, width)
    .indexSelect(0, inverse)
    .view(-1, width);
}
