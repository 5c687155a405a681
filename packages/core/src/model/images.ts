/** Images as a checkpoint's processor makes them: at which size, in which order of values, with which tokens in their place. */
import type { Grid } from '../types.ts';

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Pixels of an image, [height, width, 3]. */
export interface Pixels extends Size {
  readonly data: Uint8Array;
}

/** How an image of some size is shown. */
export interface Shown {
  /** Size at which it is laid out: places in pixels are places in it. */
  readonly size: Size;
  /** [t, h, w] in patches; t counts the tiles of an image that is cut into some. */
  readonly grid: Grid;
  /** Tokens of the decoder that its pixels become. */
  readonly tokens: number;
  /** What stands in the prompt in place of its placeholder; unset: the placeholder, once for every token. */
  readonly text?: string;
}

export interface ImageProcessor {
  shown(size: Size): Shown;
  /**
   * The bytes that are shown, which are kept in memory.
   * @param full size of the picture, of which `pixels` may be a smaller copy
   */
  prepare(pixels: Pixels, full: Size): Pixels;
  /** Shape of the values of images with such grids. */
  shape(grids: readonly Grid[]): readonly number[];
  /** Writes the values of a prepared image to `out` from `offset` on; returns where they end. */
  write(prepared: Pixels, out: Float32Array, offset: number): number;
}

/** Area that pictures are scaled up to, and down to. */
export interface PixelArea {
  readonly minPixels: number;
  readonly maxPixels: number;
}

/** Limits in place of a checkpoint's own. */
export interface AreaLimits {
  readonly minPixels?: number | undefined;
  readonly maxPixels?: number | undefined;
}

/** A processor for images that are shown as patches of the whole picture: what its files leave out. */
export interface Processor {
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  readonly mergeSize: number;
  /** Per channel. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly image: PixelArea;
  readonly video: PixelArea;
}

/** What a checkpoint says of its images, as it stands in its files. */
export interface ProcessorFiles {
  /** `image_processor` of processor_config.json, or preprocessor_config.json. */
  readonly image: unknown;
  /** processor_config.json; undefined where there is none. */
  readonly processor: unknown;
  readonly config: unknown;
}

/** A processor of a family's own, which knows images and no videos. */
export interface OwnProcessor {
  /** @throws UserError or ZodError where the files say what it does not do, or limits cannot be met */
  open(files: ProcessorFiles, limits: AreaLimits): ImageProcessor;
  /** Settings of images, as a file has them, with such limits; other programs then see images as training did. */
  limited(settings: Readonly<Record<string, unknown>>, limits: AreaLimits): Readonly<Record<string, unknown>>;
}
