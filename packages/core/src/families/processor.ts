/** What processors and tokenizers of several families have in common. */
import type { Family } from '../model/family.ts';
import type { Processor } from '../model/images.ts';

/** Patches of 14 pixels in blocks of 2 x 2, normalised by CLIP's statistics. */
export const clipProcessor: Processor = {
  patchSize: 14,
  temporalPatchSize: 2,
  mergeSize: 2,
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
  image: { minPixels: 56 * 56, maxPixels: 28 * 28 * 1280 },
  video: { minPixels: 128 * 28 * 28, maxPixels: 28 * 28 * 768 },
};

/** Patches of 16 pixels in blocks of 2 x 2, from -1 to 1; limits are those of published files. */
export const halvesProcessor: Processor = {
  patchSize: 16,
  temporalPatchSize: 2,
  mergeSize: 2,
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
  image: { minPixels: 256 * 256, maxPixels: 4096 * 4096 },
  video: { minPixels: 4096, maxPixels: 25_165_824 },
};

/** Those of Qwen's second vocabulary. */
export const visionTokens = {
  image: 151655,
  video: 151656,
  vision: ['<|vision_start|>', '<|vision_end|>', '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>'],
} satisfies Family['tokens'];
