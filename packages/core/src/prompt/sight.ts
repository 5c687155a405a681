/** How a model is shown images and videos, by the files of its checkpoint. */
import { z } from 'zod';
import { UserError } from '../errors.ts';
import type { Family } from '../families/index.ts';
import type { AreaLimits, ImageProcessor, Processor } from '../model/images.ts';
import {
  loadImageSettings,
  loadVideoSettings,
  openOwnProcessor,
  patchesOf,
  patchProcessor,
  type ImageSettings,
} from './image.ts';
import type { Coordinates } from './resize.ts';

/** What a config.json says of tokens and patches. */
export const modelSchema = ({ tokens }: Family) =>
  z.looseObject({
    image_token_id: z.int().default(tokens.image),
    video_token_id: z
      .int()
      .optional()
      .transform((id) => tokens.video && (id ?? tokens.video)),
    vision_start_token_id: z.int().optional(),
    vision_end_token_id: z.int().optional(),
    vision_config: z
      .looseObject({
        tokens_per_second: z.number().positive().optional(),
        // Of both sides, where images are shown in a way of the family's own.
        patch_size: z.int().optional().catch(undefined),
        temporal_patch_size: z.int().optional(),
        spatial_merge_size: z.int().optional(),
      })
      .nullish(),
  });
export type ModelFile = z.output<ReturnType<typeof modelSchema>>;

/** How images and videos are shown, and in which coordinates the model speaks of them. */
export interface Sight {
  readonly images: ImageProcessor;
  /** Of patches; undefined where the family shows images in a way of its own. */
  readonly settings: ImageSettings | undefined;
  readonly videos: ImageSettings | undefined;
  readonly coordinates: Coordinates;
}

export function openSight(directory: string, family: Family, model: ModelFile, limits: AreaLimits): Sight {
  const thousandths = family.coordinates === 'thousandths';
  if (thousandths && 'open' in family.processor) {
    const images = openOwnProcessor(directory, family.processor, limits);
    return { images, settings: undefined, videos: undefined, coordinates: { thousandths } };
  }
  const processor = patchesOf(family);
  const settings = loadImageSettings(directory, processor, limits);
  requireOnePatch(model, processor, settings, directory);
  return {
    images: patchProcessor(settings),
    settings,
    videos: loadVideoSettings(directory, processor, limits),
    coordinates: thousandths ? { thousandths } : { thousandths, resize: settings },
  };
}

/** Both files of a checkpoint name the size of its patches; a model with one size reads patches of another as noise. */
export function requireOnePatch(
  { vision_config: vision }: ModelFile,
  { patchSize, temporalPatchSize, mergeSize }: Processor,
  settings: ImageSettings,
  where: string | undefined,
): void {
  if (!vision) return;
  const wanted = [
    vision.patch_size ?? patchSize,
    vision.temporal_patch_size ?? temporalPatchSize,
    vision.spatial_merge_size ?? mergeSize,
  ].join(', ');
  const found = [settings.patchSize, settings.temporalPatchSize, settings.mergeSize].join(', ');
  if (found === wanted) return;
  throw new UserError(
    `patch, temporal patch and merge size are ${wanted} in config.json, but ${found} in the processor's file`,
    { where, remedy: 'Copy the processor file of the model that config.json describes.' },
  );
}
