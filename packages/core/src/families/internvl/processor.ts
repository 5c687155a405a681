/**
 * The processor: an image is resized to the grid of tiles whose aspect is nearest to its own, cut into them row by row, and
 * followed by itself at the size of one tile. What is one tile already is shown once.
 */
import { functional, scope, tensor } from '@visurf/torch';
import { z } from 'zod';

import { UserError } from '../../errors.ts';
import type { AreaLimits, ImageProcessor, OwnProcessor, Pixels, Shown, Size } from '../../model/images.ts';
import type { Grid } from '../../types.ts';
import { isInternVision, readConfig } from './config.ts';
import { normalisation, stacked, writeTiles } from '../../model/tiles/values.ts';

export const imageToken = '<IMG_CONTEXT>';
const [start, end] = ['<img>', '</img>'];
/** Control tokens around images, and in place of videos. */
export const visionTokens: readonly string[] = [start, end, '<video>'];

/** More tiles than any file asks for: the number of grids to choose among grows with it. */
const MOST = 1024;
const { trunc } = Math;

/** One number per channel, or one for all. */
const perChannel = (value: z.ZodNumber, usual: number[]) =>
  z.union([z.array(value).length(3), value.transform((each) => [each, each, each])]).default(usual);
const always = z.literal(true).default(true);
const square = z.looseObject({ height: z.int().positive(), width: z.int().positive() });

const settingsSchema = z.looseObject({
  size: square.default({ height: 384, width: 384 }),
  min_patches: z.int().positive().max(MOST).default(1),
  max_patches: z.int().positive().max(MOST).default(12),
  image_mean: perChannel(z.number(), [0.48145466, 0.4578275, 0.40821073]),
  image_std: perChannel(z.number().positive(), [0.26862954, 0.26130258, 0.27577711]),
  rescale_factor: z
    .number()
    .positive()
    .default(1 / 255),
  do_resize: always,
  do_rescale: always,
  do_normalize: always,
  resample: z.literal(3).default(3),
});
const processorSchema = z.looseObject({ image_seq_length: z.int().optional() }).optional();

type Settings = z.output<typeof settingsSchema>;

interface Layout {
  readonly rows: number;
  readonly columns: number;
}

/**
 * The grid of tiles whose aspect is nearest to the image's; of equal ones the one with more tiles, where the image has more
 * than half of its pixels.
 */
function gridFor({ width, height }: Size, tile: number, fewest: number, most: number): Layout {
  let [best, layout]: [number, Layout] = [Infinity, { rows: 1, columns: 1 }];
  for (const { rows, columns } of grids(fewest, most)) {
    const distance = Math.abs(width / height - columns / rows);
    const isLarge = width * height > 0.5 * tile * tile * columns * rows;
    if (distance < best || (distance === best && isLarge)) [best, layout] = [distance, { rows, columns }];
  }
  return layout;
}

/** By the number of tiles, then by columns. */
function grids(fewest: number, most: number): Layout[] {
  const all: Layout[] = [];
  for (let columns = 1; columns <= most; columns++) {
    for (let rows = Math.max(1, Math.ceil(fewest / columns)); rows * columns <= most; rows++)
      all.push({ rows, columns });
  }
  return all.sort((a, b) => a.rows * a.columns - b.rows * b.columns);
}

function resized(pixels: Pixels, { width, height }: Size): Pixels {
  if (width === pixels.width && height === pixels.height) return pixels;
  const data = scope(() => {
    const shape = [1, pixels.height, pixels.width, 3];
    const channelsFirst = tensor(pixels.data, { shape, device: 'cpu' }).permute(0, 3, 1, 2);
    const bytes = functional.resizeBicubic(channelsFirst, height, width).permute(0, 2, 3, 1).contiguous();
    return bytes.toTypedArray() as Uint8Array;
  });
  return { data, width, height };
}

class Tiles implements ImageProcessor {
  readonly #tile: number;
  readonly #limits: readonly [fewest: number, most: number];
  /** Patches along a side of a tile. */
  readonly #patches: number;
  readonly tokens: number;
  /** Per channel, the value of every byte. */
  readonly #values: readonly Float32Array[];

  constructor(settings: Settings, most: number, patches: number, tokens: number) {
    this.#tile = settings.size.height;
    this.#limits = [Math.min(settings.min_patches, most), most];
    [this.#patches, this.tokens] = [patches, tokens];
    this.#values = normalisation(settings);
  }

  shown(image: Size): Shown {
    const { rows, columns, count } = this.#layOut(image);
    const tokens = count * this.tokens;
    return {
      size: { width: columns * this.#tile, height: rows * this.#tile },
      grid: [count, this.#patches, this.#patches],
      tokens,
      text: start + imageToken.repeat(tokens) + end,
    };
  }

  #layOut(image: Size): Layout & { readonly count: number } {
    const layout = gridFor(image, this.#tile, ...this.#limits);
    const tiles = layout.rows * layout.columns;
    return { ...layout, count: tiles === 1 ? 1 : tiles + 1 };
  }

  /** Tiles and what follows them, one below the other. */
  prepare(pixels: Pixels, full: Size): Pixels {
    const side = this.#tile;
    const { rows, columns, count } = this.#layOut(full);
    const laid = resized(pixels, { width: columns * side, height: rows * side });
    if (count === 1) return laid;
    return stacked(laid, resized(pixels, { width: side, height: side }));
  }

  shape(grids: readonly Grid[]): readonly number[] {
    return [grids.reduce((sum, [t]) => sum + t, 0), 3, this.#tile, this.#tile];
  }

  write(pixels: Pixels, out: Float32Array, offset: number): number {
    return writeTiles(pixels, this.#values, out, offset);
  }
}

/** How many tiles an image is cut into at most, within limits of area. */
function mostTiles(tile: number, own: number, { minPixels, maxPixels }: AreaLimits): number {
  if (minPixels !== undefined) {
    throw new UserError('minPixels has no meaning here: the tiles of an image follow from its aspect', {
      where: 'data.minPixels',
      remedy: 'Leave it out.',
    });
  }
  if (maxPixels === undefined) return own;
  const tiles = trunc(maxPixels / tile ** 2);
  if (tiles > 0) return Math.min(tiles, MOST);
  throw new UserError(`maxPixels (${maxPixels}) is less than one tile of ${tile} x ${tile} pixels`, {
    where: 'data.maxPixels',
    remedy: `Give at least ${tile ** 2}, or a multiple of it.`,
  });
}

export const tileProcessor: OwnProcessor = {
  open({ image, processor, config }, limits) {
    const settings = settingsSchema.parse(image);
    const { image_seq_length: expected } = processorSchema.parse(processor) ?? {};
    const { vision } = readConfig(config);
    const { size } = settings;
    const remedy = 'The files of the processor and config.json must come from the same checkpoint.';
    if (!isInternVision(vision) || size.height !== vision.tile || size.width !== vision.tile) {
      const known = isInternVision(vision) ? vision.tile : 0;
      throw new UserError(`tiles are ${size.width} x ${size.height}, but the tower has positions for ${known}`, {
        remedy,
      });
    }
    const tokens = (vision.positionSide / vision.spatialMergeSize) ** 2;
    if (expected !== undefined && expected !== tokens) {
      throw new UserError(`image_seq_length is ${expected}, but the tower makes ${tokens} tokens of a tile`, {
        remedy,
      });
    }
    return new Tiles(settings, mostTiles(vision.tile, settings.max_patches, limits), vision.positionSide, tokens);
  },
  limited(settings, limits) {
    const { size, max_patches, min_patches } = settingsSchema.parse(settings);
    const most = mostTiles(size.height, max_patches, limits);
    return { ...settings, max_patches: most, min_patches: Math.min(min_patches, most) };
  },
};
