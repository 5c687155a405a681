/** Images and videos of a conversation: decoded, resized, cut into patches, in the order in which they appear. */
import { UserError } from '../errors.ts';
import type { Grid } from '../types.ts';
import { resizeBilinear } from './bilinear.ts';
import { ImageCache, type PreparedImage } from './cache.ts';
import { decodeImage, type Pixels } from './decode.ts';
import { gridOf, resizePixels, videoGridOf, writePatches, writeVideoPatches, type ImageSettings } from './image.ts';
import { smartResize } from './resize.ts';
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

export class VisualReader {
  readonly #images: ImageSettings;
  readonly #videos: ImageSettings;
  readonly #cache: ImageCache;
  readonly #side: number | undefined;

  /**
   * @param cacheBytes budget for resized images kept in memory; frames of videos are not kept
   * @param side of the square that images are stretched to first; unset: they are not
   */
  constructor(images: ImageSettings, videos: ImageSettings, cacheBytes: number, side?: number) {
    this.#images = images;
    this.#videos = videos;
    this.#side = side;
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

  async #readImage(file: string): Promise<StillImage> {
    const image = await this.#cache.get(file, (path) => prepare(path, this.#images, this.#side));
    return { kind: 'image', file, image, grid: gridOf(image.pixels, this.#images) };
  }

  async #readVideo({ video, fps }: VideoPart): Promise<Video> {
    const frames: PreparedImage[] = [];
    for (const file of video) {
      const frame = await prepare(file, this.#videos);
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

async function prepare(file: string, settings: ImageSettings, side?: number): Promise<PreparedImage> {
  const decoded = await decodeImage(file);
  const shown = side === undefined ? decoded : resizeBilinear(decoded, { width: side, height: side });
  const pixels = resizePixels(shown, smartResize(shown, settings));
  return { pixels, originalWidth: decoded.width, originalHeight: decoded.height };
}
