/**
 * Images as the vision tower takes them: resized, normalised, cut into patches, by the checkpoint's own settings.
 *
 * Follows the reference's default image processor bit for bit: bicubic antialiased resize on bytes by the same libtorch
 * operator, float32 arithmetic in the same order.
 */
import { functional, scope, tensor } from '@visurf/torch';
import { z } from 'zod';
import { invariant, UserError } from '../errors.ts';
import type { Family } from '../model/family.ts';
import type {
  AreaLimits,
  ImageProcessor,
  OwnProcessor,
  PixelArea,
  Pixels,
  Processor,
  ProcessorFiles,
  Size,
} from '../model/images.ts';
import type { Grid } from '../types.ts';
import { IMAGE_LIMITS } from './decode.ts';
import { readJson } from './files.ts';
import { smartResize, type ResizeSettings } from './resize.ts';

export interface ImageSettings extends ResizeSettings {
  readonly temporalPatchSize: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly rescaleFactor: number;
}

/** One number per channel, or one for all. */
const perChannel = (value: z.ZodNumber) =>
  z.union([z.array(value).length(3), value.transform((each) => [each, each, each])]);

const settingsFile = ({ patchSize, temporalPatchSize, mergeSize, mean, std }: Processor) =>
  z.looseObject({
    patch_size: z.int().positive().default(patchSize),
    temporal_patch_size: z.int().positive().default(temporalPatchSize),
    merge_size: z.int().positive().default(mergeSize),
    min_pixels: z.int().positive().nullish(),
    max_pixels: z.int().positive().nullish(),
    size: z
      .looseObject({ shortest_edge: z.int().positive().nullish(), longest_edge: z.int().positive().nullish() })
      .nullish(),
    image_mean: perChannel(z.number()).default([...mean]),
    image_std: perChannel(z.number().positive()).default([...std]),
    rescale_factor: z
      .number()
      .positive()
      .default(1 / 255),
    do_resize: z.literal(true).default(true),
    do_rescale: z.literal(true).default(true),
    do_normalize: z.literal(true).default(true),
    resample: z.literal(3).default(3),
  });
type SettingsFile = z.output<ReturnType<typeof settingsFile>>;

const nestedFile = (schema: ReturnType<typeof settingsFile>) =>
  z.looseObject({ image_processor: schema.optional(), video_processor: schema.optional() });

/** The settings of patches that a family has. @throws UserError where it shows images in a way of its own */
export function patchesOf({ processor, title }: Pick<Family, 'processor' | 'title'>): Processor {
  if (!('open' in processor)) return processor;
  throw new UserError(`${title} does not show images as patches of the whole picture`);
}

const anyFile = z.looseObject({ image_processor: z.unknown().optional() });

/**
 * A family's own processor, for what the checkpoint's files say.
 * @throws UserError where they say what it does not do
 */
export function openOwnProcessor(directory: string, own: OwnProcessor, limits: AreaLimits): ImageProcessor {
  const processor = readJson(directory, 'processor_config.json', anyFile);
  const image = processor?.image_processor ?? readJson(directory, 'preprocessor_config.json', anyFile);
  if (image === undefined) throw lacksSettings(directory);
  const files: ProcessorFiles = { image, processor, config: readJson(directory, 'config.json', anyFile) };
  try {
    return own.open(files, limits);
  } catch (error) {
    if (error instanceof z.ZodError) throw new UserError(z.prettifyError(error), { where: directory });
    if (!(error instanceof UserError)) throw error;
    throw new UserError(error.reason, { where: error.where ?? directory, remedy: error.remedy });
  }
}

const lacksSettings = (directory: string): UserError =>
  new UserError('no preprocessor_config.json', {
    where: directory,
    remedy: 'The directory must hold the image settings of the checkpoint, too.',
  });

/** Settings from processor_config.json (`image_processor`, newer files) or preprocessor_config.json. */
export function loadImageSettings(directory: string, processor: Processor, overrides: AreaLimits = {}): ImageSettings {
  const schema = settingsFile(processor);
  const found =
    readJson(directory, 'processor_config.json', nestedFile(schema))?.image_processor ??
    readJson(directory, 'preprocessor_config.json', schema);
  if (found === undefined) throw lacksSettings(directory);
  return readSettings(found, overrides, processor.image, directory);
}

/**
 * For the frames of videos: from processor_config.json (`video_processor`), video_preprocessor_config.json, or the settings
 * of images.
 */
export function loadVideoSettings(directory: string, processor: Processor, overrides: AreaLimits = {}): ImageSettings {
  const schema = settingsFile(processor);
  const found =
    readJson(directory, 'processor_config.json', nestedFile(schema))?.video_processor ??
    readJson(directory, 'video_preprocessor_config.json', schema) ??
    readJson(directory, 'preprocessor_config.json', schema) ??
    schema.parse({});
  // A limit that was chosen for images may lie below the least area of videos.
  const least = Math.min(
    overrides.maxPixels ?? Infinity,
    found.min_pixels ?? found.size?.shortest_edge ?? processor.video.minPixels,
  );
  return readSettings(found, { ...overrides, minPixels: overrides.minPixels ?? least }, processor.video, directory);
}

function readSettings(
  found: SettingsFile,
  overrides: AreaLimits,
  defaults: PixelArea,
  directory: string,
): ImageSettings {
  const minPixels = overrides.minPixels ?? found.min_pixels ?? found.size?.shortest_edge ?? defaults.minPixels;
  const maxPixels = overrides.maxPixels ?? found.max_pixels ?? found.size?.longest_edge ?? defaults.maxPixels;
  if (minPixels > maxPixels) {
    const chosen = overrides.minPixels !== undefined || overrides.maxPixels !== undefined;
    throw new UserError(`minPixels (${minPixels}) is more than maxPixels (${maxPixels})`, {
      where: chosen ? undefined : directory,
      remedy: chosen
        ? 'Set data.minPixels and data.maxPixels so that they fit.'
        : "Correct min_pixels and max_pixels (or size) in the processor's file.",
    });
  }
  if (minPixels > IMAGE_LIMITS.maxPixels) {
    throw new UserError(`minPixels (${minPixels}) is more than any image has (${IMAGE_LIMITS.maxPixels})`, {
      where: overrides.minPixels === undefined ? directory : 'data.minPixels',
    });
  }
  return {
    patchSize: found.patch_size,
    temporalPatchSize: found.temporal_patch_size,
    mergeSize: found.merge_size,
    minPixels,
    maxPixels,
    mean: found.image_mean,
    std: found.image_std,
    rescaleFactor: found.rescale_factor,
  };
}

export function resizePixels(pixels: Pixels, { width, height }: { width: number; height: number }): Pixels {
  if (width === pixels.width && height === pixels.height) return pixels;
  const resized = scope(() => {
    const shape = [1, pixels.height, pixels.width, 3];
    const channelsFirst = tensor(pixels.data, { shape, device: 'cpu' }).permute(0, 3, 1, 2);
    return functional.resizeBicubic(channelsFirst, height, width).permute(0, 2, 3, 1).contiguous();
  });
  const data = resized.toTypedArray() as Uint8Array;
  resized.dispose();
  return { data, width, height };
}

/**
 * Images as patches of the whole picture.
 * @param sizeOf at which size one is shown
 */
export const patchProcessor = (
  settings: ImageSettings,
  sizeOf = (full: Size): Size => smartResize(full, settings),
): ImageProcessor => ({
  shown: (full) => {
    const size = sizeOf(full);
    const grid = gridOf(size, settings);
    return { size, grid, tokens: mergedTokens(grid, settings) };
  },
  prepare: (pixels, full) => resizePixels(pixels, sizeOf(full)),
  shape: (grids) => [
    grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0),
    3 * settings.temporalPatchSize * settings.patchSize ** 2,
  ],
  write: (pixels, out, offset) => writePatches(pixels, settings, out, offset),
});

/** Tokens of the decoder that so many patches become. */
export const mergedTokens = ([t, h, w]: Grid, { mergeSize }: ImageSettings): number => (t * h * w) / mergeSize ** 2;

/** [t, h, w] in patches. */
export function gridOf({ width, height }: Size, { patchSize }: ImageSettings): Grid {
  return [1, height / patchSize, width / patchSize];
}

/** [t, h, w] in patches of a video: its last frame is repeated until temporal patches are full. */
export function videoGridOf(frame: Size, frames: number, settings: ImageSettings): Grid {
  const [, rows, columns] = gridOf(frame, settings);
  return [Math.ceil(frames / settings.temporalPatchSize), rows, columns];
}

/** Writes the patches of a resized image to `out` from `offset` on; returns where they end. */
export function writePatches(pixels: Pixels, settings: ImageSettings, out: Float32Array, offset: number): number {
  return writeTemporalPatch([pixels], settings, out, offset);
}

/** Writes the patches of a video's resized frames to `out` from `offset` on; returns where they end. */
export function writeVideoPatches(
  frames: readonly Pixels[],
  settings: ImageSettings,
  out: Float32Array,
  offset: number,
): number {
  let at = offset;
  for (let first = 0; first < frames.length; first += settings.temporalPatchSize) {
    at = writeTemporalPatch(frames.slice(first, first + settings.temporalPatchSize), settings, out, at);
  }
  return at;
}

/**
 * Patches of the frames of one temporal patch; the last frame is repeated until it is full, as a still image is.
 *
 * Order of patches: rows and columns of merge blocks, then rows and columns within a block. A patch is
 * [channel, time, row, column].
 */
function writeTemporalPatch(
  frames: readonly Pixels[],
  settings: ImageSettings,
  out: Float32Array,
  offset: number,
): number {
  const { patchSize, temporalPatchSize, mergeSize } = settings;
  const [first] = frames;
  invariant(first, 'a temporal patch has a frame');
  const [, rows, columns] = gridOf(first, settings);
  const tables = normalisation(settings);
  const plane = patchSize * patchSize;
  let at = offset;
  const patch = (row: number, column: number) => {
    for (const [channel, table] of tables.entries()) {
      for (const { data, width } of frames) {
        for (let y = 0; y < patchSize; y++) {
          let source = ((row * patchSize + y) * width + column * patchSize) * 3 + channel;
          for (let x = 0; x < patchSize; x++, source += 3) out[at++] = table[data[source]!]!;
        }
      }
      for (let t = frames.length; t < temporalPatchSize; t++, at += plane) out.copyWithin(at, at - plane, at);
    }
  };
  for (let blockRow = 0; blockRow < rows; blockRow += mergeSize) {
    for (let blockColumn = 0; blockColumn < columns; blockColumn += mergeSize) {
      for (let i = 0; i < mergeSize * mergeSize; i++) {
        patch(blockRow + Math.floor(i / mergeSize), blockColumn + (i % mergeSize));
      }
    }
  }
  return at;
}

/**
 * Per channel, the normalised value of every byte: (x - mean / rescale) / (std / rescale), in float32 as the reference's
 * fused rescale and normalise computes it.
 */
function normalisation({ mean, std, rescaleFactor }: ImageSettings): Float32Array[] {
  const scale = Math.fround(1 / rescaleFactor);
  return mean.map((channelMean, channel) => {
    const centre = Math.fround(Math.fround(channelMean) * scale);
    const width = Math.fround(Math.fround(std[channel]!) * scale);
    return Float32Array.from({ length: 256 }, (_, byte) => Math.fround(Math.fround(byte - centre) / width));
  });
}
