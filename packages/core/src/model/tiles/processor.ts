/**
 * The processor: an image is scaled to a longest side, then to whole tiles whatever its aspect, cut into them row by row,
 * and followed by itself at the size of one tile. What is one tile already is shown once.
 */
import { z } from 'zod';

import { UserError } from '../../errors.ts';
import type { AreaLimits, ImageProcessor, OwnProcessor, Pixels, Shown, Size } from '../images.ts';
import type { Grid } from '../../types.ts';
import { readConfig } from './config.ts';
import { resizeLanczos } from './lanczos.ts';
import { normalisation, stacked, writeTiles } from './values.ts';

export const imageToken = '<image>';
const [around, whole] = ['<fake_token_around_image>', '<global-img>'];
const tileToken = (row: number, column: number): string => `<row_${row + 1}_col_${column + 1}>`;

/** Rows and columns that vocabularies have tokens for. */
const NAMED = 6;
const named = Array.from({ length: NAMED }, (_, i) => i);

/** Control tokens around images, and in place of the names of tiles. */
export const tileTokens: readonly string[] = [
  around,
  whole,
  ...named.flatMap((row) => named.map((column) => tileToken(row, column))),
];

/** Longest side of any image that the reference lays out. */
const MOST = 4096;

/** Tiles along a side, beyond which sizes are a mistake: published ones have up to 6, of which vocabularies have names. */
const MOST_TILES = 32;

/** One number per channel, or one for all. */
const perChannel = (value: z.ZodNumber) =>
  z.union([z.array(value).length(3), value.transform((each) => [each, each, each])]).default([0.5, 0.5, 0.5]);
const edge = z.looseObject({ longest_edge: z.int().positive() });
const always = z.literal(true).default(true);

const settingsSchema = z.looseObject({
  size: edge.default({ longest_edge: 4 * 364 }),
  max_image_size: edge.default({ longest_edge: 364 }),
  do_image_splitting: z.boolean().default(true),
  image_mean: perChannel(z.number()),
  image_std: perChannel(z.number().positive()),
  rescale_factor: z
    .number()
    .positive()
    .default(1 / 255),
  do_resize: always,
  do_rescale: always,
  do_normalize: always,
  resample: z.literal(1).default(1),
});
const processorSchema = z.looseObject({ image_seq_len: z.int().optional() }).optional();

type Settings = z.output<typeof settingsSchema>;

interface Layout {
  /** Size of the image as it is cut. */
  readonly size: Size;
  /** 0 x 0 where it is shown once. */
  readonly rows: number;
  readonly columns: number;
}

/** Python's `int` of a positive number. */
const { trunc, ceil, max } = Math;

/** The size at which the longer side is so long; the other is even where that is no matter of limits. */
function scaled({ width, height }: Size, longest: number): Size {
  const aspect = width / height;
  const even = (side: number): number => max(1, side + (side % 2));
  const first =
    width >= height
      ? { width: longest, height: even(trunc(longest / aspect)) }
      : { width: even(trunc(longest * aspect)), height: longest };
  if (max(first.width, first.height) <= MOST) return first;
  const ratio = first.width / first.height;
  return first.width >= first.height
    ? { width: MOST, height: max(1, trunc(MOST / ratio)) }
    : { width: max(1, trunc(MOST * ratio)), height: MOST };
}

function layOut(image: Size, { longest, tile, splits }: { longest: number; tile: number; splits: boolean }): Layout {
  if (!splits) return { size: { width: tile, height: tile }, rows: 0, columns: 0 };
  const { width, height } = scaled(image, longest);
  const up = (side: number): number => ceil(side / tile) * tile;
  const aspect = width / height;
  const size =
    width >= height
      ? { width: up(width), height: up(trunc(up(width) / aspect)) }
      : { width: up(trunc(up(height) * aspect)), height: up(height) };
  const [rows, columns] = [size.height / tile, size.width / tile];
  return rows * columns === 1 ? { size, rows: 0, columns: 0 } : { size, rows, columns };
}

/** What stands in the prompt in an image's place. */
function spelled({ rows, columns }: Layout, tokens: number): string {
  const pads = imageToken.repeat(tokens);
  const lines = Array.from({ length: rows }, (_, row) =>
    Array.from({ length: columns }, (__, column) => around + tileToken(row, column) + pads).join(''),
  );
  const thumbnail = `${around}${whole}${pads}${around}`;
  return rows === 0 ? thumbnail : `${lines.map((line) => `${line}\n`).join('')}\n${thumbnail}`;
}

class Tiles implements ImageProcessor {
  readonly #layout: { readonly longest: number; readonly tile: number; readonly splits: boolean };
  /** Patches along a side of a tile. */
  readonly #patches: number;
  /** Tokens of the decoder for each tile. */
  readonly #tokens: number;
  /** Per channel, the value of every byte. */
  readonly #values: readonly Float32Array[];
  readonly #known = new Map<string, string>();

  constructor(settings: Settings, longest: number, patchSize: number, mergeSize: number) {
    const tile = settings.max_image_size.longest_edge;
    this.#layout = { longest, tile, splits: settings.do_image_splitting };
    this.#patches = trunc(tile / patchSize);
    if (this.#patches === 0 || this.#patches % mergeSize !== 0) {
      throw new UserError(
        `tiles of ${tile} pixels hold ${this.#patches} patches of ${patchSize} along a side, which do not join by ${mergeSize}`,
        { remedy: 'max_image_size of the processor and config.json must come from the same checkpoint.' },
      );
    }
    this.#tokens = (this.#patches / mergeSize) ** 2;
    this.#values = normalisation(settings);
  }

  get tokens(): number {
    return this.#tokens;
  }

  shown(image: Size): Shown {
    const layout = layOut(image, this.#layout);
    const tiles = layout.rows * layout.columns + 1;
    const key = `${layout.rows} ${layout.columns}`;
    const text = this.#known.get(key) ?? spelled(layout, this.#tokens);
    this.#known.set(key, text);
    return { size: layout.size, grid: [tiles, this.#patches, this.#patches], tokens: tiles * this.#tokens, text };
  }

  /** Tiles and what follows them, one below the other. */
  prepare(pixels: Pixels, full: Size): Pixels {
    const { longest, tile, splits } = this.#layout;
    const first = resizeLanczos(pixels, scaled(full, longest));
    const { size, rows } = layOut(full, this.#layout);
    const laid = resizeLanczos(first, size);
    if (!splits || rows === 0) return laid;
    return stacked(laid, resizeLanczos(laid, { width: tile, height: tile }));
  }

  shape(grids: readonly Grid[]): readonly number[] {
    const { tile } = this.#layout;
    return [grids.reduce((sum, [t]) => sum + t, 0), 3, tile, tile];
  }

  write(pixels: Pixels, out: Float32Array, offset: number): number {
    return writeTiles(pixels, this.#values, out, offset);
  }
}

/** The longest side within limits of area: a whole number of tiles, as files have it. */
function longestSide(tile: number, own: number, { minPixels, maxPixels }: AreaLimits): number {
  if (minPixels !== undefined) {
    throw new UserError('minPixels has no meaning here: every image is scaled to one longest side', {
      where: 'data.minPixels',
      remedy: 'Leave it out.',
    });
  }
  if (maxPixels === undefined) return own;
  const tiles = trunc(Math.sqrt(maxPixels) / tile);
  if (tiles > 0) return tiles * tile;
  throw new UserError(`maxPixels (${maxPixels}) is less than one tile of ${tile} x ${tile} pixels`, {
    where: 'data.maxPixels',
    remedy: `Give at least ${tile * tile}, or the square of a multiple of ${tile}.`,
  });
}

export const tileProcessor: OwnProcessor = {
  open({ image, processor, config }, limits) {
    const settings = settingsSchema.parse(image);
    const { image_seq_len: expected } = processorSchema.parse(processor) ?? {};
    const { vision } = readConfig(config);
    const tile = settings.max_image_size.longest_edge;
    const longest = longestSide(tile, settings.size.longest_edge, limits);
    if (settings.do_image_splitting && Math.min(longest, MOST) > MOST_TILES * tile) {
      throw new UserError(
        `images of ${longest} pixels are cut into tiles of ${tile}: over ${MOST_TILES} along a side`,
        {
          remedy: 'Look at size and max_image_size of the processor, or set data.maxPixels.',
        },
      );
    }
    const tiles = new Tiles(settings, longest, vision.patchSize, vision.spatialMergeSize);
    if (expected !== undefined && expected !== tiles.tokens) {
      throw new UserError(`image_seq_len is ${expected}, but the tower makes ${tiles.tokens} tokens of a tile`, {
        remedy: 'The files of the processor and config.json must come from the same checkpoint.',
      });
    }
    return tiles;
  },
  limited(settings, limits) {
    const { max_image_size: tile, size } = settingsSchema.parse(settings);
    const longest_edge = longestSide(tile.longest_edge, size.longest_edge, limits);
    return { ...settings, size: { ...size, longest_edge } };
  },
};
