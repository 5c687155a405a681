/**
 * What was asked in a run: `samples.jsonl`, a line per sample that it has met, and `images/HASH.webp`. Whoever has the
 * run's directory sees what the model saw, wherever it was trained: no path of that machine is in it.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { someFrames } from '../data/videos.ts';
import { decodeHeader } from '../prompt/decode.ts';
import type { Box, Frame, Point, Sample } from '../types.ts';
import { linesOf } from '../regular.ts';
import { writeAside } from '../disk/durable.ts';

/** Small pictures, pictures of their own size, or none. */
export type ImageRecord = 'thumbnails' | 'copies' | 'none';

export interface SampleRecord {
  readonly id: string;
  readonly problem: string;
  readonly task: string;
  /** As rendered by the chat template. */
  readonly prompt: string;
  readonly images: readonly {
    /** From the run's directory; absent where none is kept, or it could not be read. */
    readonly path?: string | undefined;
    /** Of the original, upright. */
    readonly width: number;
    readonly height: number;
  }[];
  /** Some of the frames of every video, in the same form. */
  readonly videos?: readonly { readonly fps: number; readonly frames: SampleRecord['images'] }[];
  readonly solution: string;
  /** What the truth points at, in pixels of the original. */
  readonly boxes: readonly Box[];
  readonly points: readonly Point[];
}

/** A sample as it was asked. */
export interface Asked {
  readonly sample: Sample;
  readonly rendered: string;
  /** One per image. */
  readonly frames: readonly Frame[];
  readonly boxes: readonly Box[];
  readonly points: readonly Point[];
}

/** Pixels of the longer side of a thumbnail. */
const THUMBNAIL = 512;

interface Place {
  readonly directory: string;
  /** Takes a line for `samples.jsonl`. */
  append(record: SampleRecord): void;
  /** Hears of a file that is to be on the disk with the next checkpoint. */
  wrote(file: string): void;
}

export class SampleLog {
  readonly #place: Place;
  readonly #images: ImageRecord;
  readonly #known: Set<string>;
  /** Of an image that was kept, by its file. */
  readonly #kept = new Map<string, Promise<string | undefined>>();

  constructor(place: Place, images: ImageRecord) {
    [this.#place, this.#images] = [place, images];
    this.#known = knownIds(path.join(place.directory, 'samples.jsonl'));
  }

  /** Notes samples that were not met before. */
  async add(asked: readonly Asked[]): Promise<void> {
    const fresh = asked.filter(({ sample }) => !this.#known.has(sample.id) && this.#known.add(sample.id));
    const records = await Promise.all(fresh.map((each) => this.#record(each)));
    for (const record of records) this.#place.append(record);
  }

  async #record({ sample, rendered, frames, boxes, points }: Asked): Promise<SampleRecord> {
    const { id, problem, task, solution, images: files, videos = [] } = sample;
    const images = await Promise.all(
      frames.map(async ({ width, height }, i) => ({ path: await this.#keep(files[i]), width, height })),
    );
    const clips = await Promise.all(
      videos.map(async (clip) => ({
        fps: clip.fps,
        frames: await Promise.all(someFrames(clip).map((file) => this.#frame(file))),
      })),
    );
    const shown = { images, ...(clips.length > 0 && { videos: clips }) };
    return { id, problem, task, prompt: rendered, ...shown, solution, boxes, points };
  }

  async #frame(file: string): Promise<SampleRecord['images'][number]> {
    const { width, height, orientation } = await decodeHeader(file);
    const [w, h] = orientation >= 5 ? [height, width] : [width, height];
    return { path: await this.#keep(file), width: w, height: h };
  }

  #keep(file: string | undefined): Promise<string | undefined> {
    if (file === undefined || this.#images === 'none') return Promise.resolve(undefined);
    const kept = this.#kept.get(file) ?? this.#write(file);
    this.#kept.set(file, kept);
    return kept;
  }

  async #write(file: string): Promise<string | undefined> {
    let bytes: Buffer;
    try {
      bytes = readFileSync(file);
    } catch {
      // It was there when the model saw it. A picture less is no reason to stop.
      return undefined;
    }
    const name = `images/${createHash('sha256').update(bytes).digest('hex').slice(0, 32)}.webp`;
    const place = path.join(this.#place.directory, name);
    if (!existsSync(place)) {
      const picture = sharp(bytes, { limitInputPixels: false, failOn: 'none' }).autoOrient();
      const small = { width: THUMBNAIL, height: THUMBNAIL, fit: 'inside', withoutEnlargement: true } as const;
      const isSmall = this.#images === 'thumbnails';
      const made = await (isSmall ? picture.resize(small).webp({ quality: 80 }) : picture.webp({ quality: 95 }))
        .toBuffer()
        .catch(() => undefined);
      // Larger than the format can be.
      if (made === undefined) return undefined;
      if (!existsSync(path.dirname(place))) mkdirSync(path.dirname(place));
      writeAside(place, made);
    }
    this.#place.wrote(place);
    return name;
  }
}

function knownIds(file: string): Set<string> {
  const known = new Set<string>();
  for (const line of existsSync(file) ? linesOf(file) : []) {
    try {
      known.add((JSON.parse(line ?? '') as SampleRecord).id);
    } catch {
      // Damaged: the sample is noted once more.
    }
  }
  return known;
}
