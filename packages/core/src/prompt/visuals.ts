/** Images and videos of a conversation: decoded, resized, cut into patches, in the order in which they appear. */
import { createHash } from 'node:crypto';
import { UserError } from '../errors.ts';
import type { Grid } from '../types.ts';
import { resizeBilinear } from './bilinear.ts';
import { ImageCache, type PreparedImage } from './cache.ts';
import {
  decodeBytes,
  decodeImage,
  IMAGE_LIMITS,
  requireImage,
  type Decoded,
  type ImageLimits,
  type Pixels,
} from './decode.ts';
import { gridOf, resizePixels, videoGridOf, writePatches, writeVideoPatches, type ImageSettings } from './image.ts';
import { smartResize } from './resize.ts';
import type { ImageSource, Message, VideoPart } from './template.ts';

interface StillImage {
  readonly kind: 'image';
  /** Its path, or what stands for the bytes that it was given as. */
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

  /** @param cacheBytes budget for resized images kept in memory; frames of videos are not kept */
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

  /** Reads images into the cache. What is wrong with one is said when it is read to be used. */
  async prefetch(files: readonly string[]): Promise<void> {
    await Promise.allSettled(files.map((file) => this.#readImage(file)));
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

  async #readImage(source: ImageSource): Promise<StillImage> {
    const file = typeof source === 'string' ? source : nameOf(source);
    const image = await this.#cache.get(file, () => prepare(source, this.#images, this.#reading));
    return { kind: 'image', file, image, grid: gridOf(image.pixels, this.#images) };
  }

  async #readVideo({ video, fps }: VideoPart): Promise<Video> {
    const frames: PreparedImage[] = [];
    for (const file of video) {
      const frame = await prepare(file, this.#videos, { limits: this.#reading.limits });
      const { originalWidth: width, originalHeight: height } = frames[0] ?? frame;
      if (frame.originalWidth !== width || frame.originalHeight !== height) {
        throw new UserError(
          `a frame of ${frame.originalWidth} x ${frame.originalHeight} pixels in a video of ${width} x ${height}`,
          { where: file, remedy: 'All frames of a video need one size.' },
        );
      }
      frames.push(frame);
    }
    const pixels = frames.map((frame) => frame.pixels);
    const seconds = this.#videos.temporalPatchSize / fps;
    return { kind: 'video', frames: pixels, grid: videoGridOf(pixels, this.#videos), seconds };
  }
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

async function prepare(
  source: ImageSource,
  settings: ImageSettings,
  { limits, side }: Reading,
): Promise<PreparedImage> {
  const decoded = await decode(source, limits);
  const shown = side === undefined ? decoded : resizeBilinear(decoded, { width: side, height: side });
  const pixels = resizePixels(shown, smartResize(side === undefined ? decoded.full : shown, settings));
  return { pixels, originalWidth: decoded.full.width, originalHeight: decoded.full.height };
}
