/** Images and videos of a conversation: decoded, resized, cut into patches, in the order in which they appear. */
import { UserError } from '../errors.ts';
import type { Clip, Grid } from '../types.ts';
import { resizeBilinear } from './bilinear.ts';
import { ImageCache, type PreparedImage } from './cache.ts';
import { decodeImage, IMAGE_LIMITS, type ImageLimits, type Pixels } from './decode.ts';
import { gridOf, resizePixels, videoGridOf, writePatches, writeVideoPatches, type ImageSettings } from './image.ts';
import { smartResize, type Size } from './resize.ts';
import type { Message, VideoPart } from './template.ts';

interface StillImage {
  readonly kind: 'image';
  readonly file: string;
  readonly grid: Grid;
  readonly image: PreparedImage;
}

interface Video {
  readonly kind: 'video';
  readonly grid: Grid;
  readonly frames: readonly Pixels[];
  /** Seconds of a temporal patch. */
  readonly seconds: number;
}

export type Visual = StillImage | Video;

/** How images are read. */
interface Reading {
  readonly limits: ImageLimits;
  /** Of the square that they are stretched to first; unset: they are not. */
  readonly side?: number | undefined;
}

const ANYHOW: Reading = { limits: IMAGE_LIMITS };

export class VisualReader {
  readonly #images: ImageSettings;
  readonly #videos: ImageSettings;
  readonly #cache: ImageCache;
  readonly #reading: Reading;

  /** @param cacheBytes budget for resized images and frames kept in memory */
  constructor(images: ImageSettings, videos: ImageSettings, cacheBytes: number, reading: Reading = ANYHOW) {
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
    await Promise.allSettled(
      samples.flatMap(({ images, videos = [] }): Promise<unknown>[] => [
        ...images.map((file) => this.#readImage(file)),
        ...videos.flatMap(({ video }) => video.map((file) => this.#readFrame(file))),
      ]),
    );
  }

  /** [N, channels * temporal * patch * patch]; undefined where nothing is to be seen. */
  patches(visuals: readonly Visual[]): Float32Array | undefined {
    if (visuals.length === 0) return undefined;
    const { patchSize, temporalPatchSize } = this.#images;
    const patches = visuals.reduce((sum, { grid: [t, h, w] }) => sum + t * h * w, 0);
    const out = new Float32Array(patches * 3 * temporalPatchSize * patchSize ** 2);
    let at = 0;
    for (const visual of visuals) {
      if (visual.kind === 'image') at = writePatches(visual.image.pixels, this.#images, out, at);
      else at = writeVideoPatches(visual.frames, this.#videos, out, at);
    }
    return out;
  }

  async #readImage(file: string): Promise<StillImage> {
    const image = await this.#cache.get(file, (path) => prepare(path, this.#images, this.#reading));
    return { kind: 'image', file, image, grid: gridOf(image.pixels, this.#images) };
  }

  /** A frame is resized by other settings than an image of the same file. */
  async #readFrame(file: string): Promise<PreparedImage> {
    return await this.#cache.get(`frame ${file}`, () => prepare(file, this.#videos, { limits: this.#reading.limits }));
  }

  async #readVideo({ video, fps }: VideoPart): Promise<Video> {
    const frames: PreparedImage[] = [];
    for (const file of video) frames.push(await this.#readFrame(file));
    const sizes = frames.map(({ originalWidth: width, originalHeight: height }) => ({ width, height }));
    sizes.forEach((size, i) => requireOneSize(size, sizes[0]!, video[i]!));
    const pixels = frames.map((frame) => frame.pixels);
    const seconds = this.#videos.temporalPatchSize / fps;
    return { kind: 'video', frames: pixels, grid: videoGridOf(pixels[0]!, pixels.length, this.#videos), seconds };
  }
}

/** @throws UserError where a frame is not as large as the first one */
export function requireOneSize(size: Size, first: Size, file: string): void {
  if (size.width === first.width && size.height === first.height) return;
  throw new UserError(
    `a frame of ${size.width} x ${size.height} pixels in a video of ${first.width} x ${first.height}`,
    { where: file, remedy: 'All frames of a video need one size.' },
  );
}

async function prepare(file: string, settings: ImageSettings, { limits, side }: Reading): Promise<PreparedImage> {
  const decoded = await decodeImage(file, limits);
  const shown = side === undefined ? decoded : resizeBilinear(decoded, { width: side, height: side });
  const pixels = resizePixels(shown, smartResize(side === undefined ? decoded.full : shown, settings));
  return { pixels, originalWidth: decoded.full.width, originalHeight: decoded.full.height };
}
