/** Decoded images by path, least recently used ones dropped when a budget of bytes is full. */
import type { Pixels, Shown } from '../model/images.ts';

/** A resized image, and the size of the file it came from. */
export interface PreparedImage {
  readonly pixels: Pixels;
  readonly shown: Shown;
  readonly originalWidth: number;
  readonly originalHeight: number;
}

export class ImageCache {
  readonly #budget: number;
  readonly #entries = new Map<string, PreparedImage>();
  #bytes = 0;

  constructor(budget: number) {
    this.#budget = budget;
  }

  async get(file: string, prepare: (file: string) => Promise<PreparedImage>): Promise<PreparedImage> {
    const cached = this.#entries.get(file);
    this.#drop(file);
    const image = cached ?? (await prepare(file));
    this.#drop(file);
    this.#entries.set(file, image);
    this.#bytes += image.pixels.data.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#budget) break;
      this.#drop(oldest);
    }
    return image;
  }

  #drop(file: string): void {
    const entry = this.#entries.get(file);
    if (!entry) return;
    this.#entries.delete(file);
    this.#bytes -= entry.pixels.data.length;
  }
}
