/** Images and videos of a conversation: decoded, resized, cut into patches, in the order in which they appear. */
import { createHash } from 'node:crypto';
import { invariant, UserError } from '../errors.ts';
import type { ImageProcessor, Pixels, Size } from '../model/images.ts';
import type { Clip, Grid } from '../types.ts';
import { resizeBilinear } from './bilinear.ts';
import { ImageCache, type PreparedImage } from './cache.ts';
import { decodeBytes, decodeImage, IMAGE_LIMITS, requireImage, type Decoded, type ImageLimits } from './decode.ts';
import { patchProcessor, videoGridOf, writeVideoPatches, type ImageSettings } from './image.ts';
import { smartResize, videoSize } from './resize.ts';
import type { ImageSource, Message, VideoPart } from './template.ts';

export interface StillImage {
  readonly kind: 'image';
  /** Its path, or what stands for the bytes that it was given as. */
  readonly file: string;
  readonly grid: Grid;
  readonly tokens: number;
  /** What stands in its place in the prompt; undefined: its placeholder, once for every token. */
  readonly text: string | undefined;
  readonly image: PreparedImage;
}

export interface Video {
  readonly kind: 'video';
  readonly grid: Grid;
  readonly frames: readonly Pixels[];
  /** Frames, before the last one is repeated. */
  readonly count: number;
  readonly fps: number;
}

export type Visual = StillImage | Video;

/** How images are read. */
interface Reading {
  readonly limits: ImageLimits;
  /** Whether limits of area hold for all frames of a video together. */
  readonly framesTogether?: boolean;
  /** Of the square that they are stretched to first; unset: they are not. */
  readonly side?: number | undefined;
}

const ANYHOW: Reading = { limits: IMAGE_LIMITS };

export class VisualReader {
  readonly #images: ImageProcessor;
  readonly #videos: ImageSettings | undefined;
  readonly #cache: ImageCache;
  readonly #reading: Reading;

  /**
   * @param videos undefined where there are none
   * @param cacheBytes budget for resized images and frames kept in memory
   */
  constructor(
    images: ImageProcessor,
    videos: ImageSettings | undefined,
    cacheBytes: number,
    reading: Reading = ANYHOW,
  ) {
    this.#images = images;
    this.#videos = videos;
    this.#reading = reading;
    this.#cache = new ImageCache(cacheBytes);
  }

  /** @throws UserError for a file that cannot be used, or frames of different sizes */
  async read(messages: readonly Message[]): Promise<Visual[]> {
    const visuals: Visual[] = [];
    for (const part of messages.flatMap(({ content }) => (typeof content === 'string' ? [] : content))) {
      if (part.type === 'image') visuals.push(await this.#readImage(part.image));
      if (part.type === 'video') visuals.push(await this.#readVideo(part));
    }
    return visuals;
  }

  /** Reads images and videos into the cache. What is wrong with one is said when it is read to be used. */
  async prefetch(
    samples: readonly { images: readonly string[]; videos?: readonly Clip[] | undefined }[],
  ): Promise<void> {
    const known = this.#videos !== undefined;
    await Promise.allSettled(
      samples.flatMap(({ images, videos = [] }): Promise<unknown>[] => [
        ...images.map((file) => this.#readImage(file)),
        ...(known ? videos : []).flatMap(({ video }) => video.map((file) => this.#readFrame(file, video.length))),
      ]),
    );
  }

  /** Values of all that is seen, and their shape; undefined where that is nothing. */
  values(visuals: readonly Visual[]): { values: Float32Array; shape: readonly number[] } | undefined {
    if (visuals.length === 0) return undefined;
    const shape = this.#images.shape(visuals.map(({ grid }) => grid));
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    let at = 0;
    for (const visual of visuals) {
      if (visual.kind === 'image') at = this.#images.write(visual.image.pixels, values, at);
      else at = writeVideoPatches(visual.frames, this.#videos!, values, at);
    }
    return { values, shape };
  }

  async #readImage(source: ImageSource): Promise<StillImage> {
    const file = typeof source === 'string' ? source : nameOf(source);
    const image = await this.#cache.get(file, () => prepare(source, this.#images, this.#reading));
    const { grid, tokens, text } = image.shown;
    return { kind: 'image', file, image, grid, tokens, text };
  }

  /** A frame is resized by other settings than an image of the same file, which may depend on how many there are. */
  async #readFrame(file: string, frames: number): Promise<PreparedImage> {
    const settings = this.#videos;
    invariant(settings, 'videos are known');
    const { limits, framesTogether } = this.#reading;
    const processor = patchProcessor(settings, (size) => this.#frameSize(size, frames, settings));
    const key = framesTogether ? `frame of ${frames} ${file}` : `frame ${file}`;
    return await this.#cache.get(key, () => prepare(file, processor, { limits }));
  }

  async #readVideo({ video, fps }: VideoPart): Promise<Video> {
    const settings = this.#settingsOf(video);
    const frames: PreparedImage[] = [];
    for (const file of video) frames.push(await this.#readFrame(file, video.length));
    const sizes = frames.map(({ originalWidth: width, originalHeight: height }) => ({ width, height }));
    sizes.forEach((size, i) => requireOneSize(size, sizes[0]!, video[i]!));
    const pixels = frames.map((frame) => frame.pixels);
    const grid = videoGridOf(pixels[0]!, pixels.length, settings);
    return { kind: 'video', frames: pixels, count: pixels.length, grid, fps };
  }

  /** A video as `read` would have it, of frames of which only the sizes are known. */
  measure({ video, fps }: Clip, sizeOf: (file: string) => Size): Omit<Video, 'frames'> {
    const settings = this.#settingsOf(video);
    const sizes = video.map(sizeOf);
    sizes.forEach((size, i) => requireOneSize(size, sizes[0]!, video[i]!));
    const grid = videoGridOf(this.#frameSize(sizes[0]!, video.length, settings), video.length, settings);
    return { kind: 'video', count: video.length, grid, fps };
  }

  /** @throws UserError for a video of too few frames */
  #settingsOf(video: readonly string[]): ImageSettings {
    const settings = this.#videos;
    invariant(settings, 'videos are known');
    if (this.#reading.framesTogether && video.length < settings.temporalPatchSize) {
      throw new UserError(`a video of ${video.length} frame`, {
        where: video[0],
        remedy: `The model takes ${settings.temporalPatchSize} frames or more: give a still one as an image.`,
      });
    }
    return settings;
  }

  #frameSize(size: Size, frames: number, settings: ImageSettings): Size {
    return this.#reading.framesTogether ? videoSize(size, frames, settings) : smartResize(size, settings);
  }
}

/** @throws UserError where a frame is not as large as the first one */
function requireOneSize(size: Size, first: Size, file: string): void {
  if (size.width === first.width && size.height === first.height) return;
  throw new UserError(
    `a frame of ${size.width} x ${size.height} pixels in a video of ${first.width} x ${first.height}`,
    { where: file, remedy: 'All frames of a video need one size.' },
  );
}

const nameOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Where an image that was given as bytes is at fault. */
const GIVEN = 'the image';

async function decode(source: ImageSource, limits: ImageLimits): Promise<Decoded> {
  if (typeof source === 'string') return await decodeImage(source, limits);
  const bytes = Buffer.from(source.buffer, source.byteOffset, source.byteLength);
  requireImage(bytes, GIVEN, limits);
  return await decodeBytes(bytes, GIVEN, limits);
}

type Resizing = Pick<ImageProcessor, 'shown' | 'prepare'>;

async function prepare(source: ImageSource, images: Resizing, { limits, side }: Reading): Promise<PreparedImage> {
  const decoded = await decode(source, limits);
  const seen = side === undefined ? decoded : resizeBilinear(decoded, { width: side, height: side });
  const size = side === undefined ? decoded.full : seen;
  const { width: originalWidth, height: originalHeight } = decoded.full;
  return { pixels: images.prepare(seen, size), shown: images.shown(size), originalWidth, originalHeight };
}
