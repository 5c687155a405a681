/**
 * Boxes and points to masks: the picture is embedded once, every object asked for on its own with its box and its points,
 * and of the three masks that come the one with the best score is taken.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { decodeImage, type Pixels } from '../prompt/decode.ts';
import { resizeBilinear, scaleMap } from '../prompt/bilinear.ts';
import type { Box, Point } from '../types.ts';
import { EmbeddingStore } from './embeddings.ts';
import { openExported, type ExportedModel, type Numbers, type Preparation } from './exported.ts';
import { emptyMask, type Mask } from './masks.ts';

/** Something to be drawn, in pixels of the upright picture. */
export interface Outlined {
  readonly box: Box;
  readonly points: readonly Point[];
}

interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Embedded {
  /** Of the picture. */
  readonly size: Size;
  readonly embeddings: Readonly<Record<string, Numbers>>;
}

const BYTES_KEPT = 2 * 2 ** 30;

export class Sam2 {
  readonly #exported: ExportedModel;
  readonly #store: EmbeddingStore;
  readonly #identity: string;
  /** Responses of a group ask for one picture in a row. */
  #last: { readonly stamp: string; readonly embedded: Embedded } | undefined;

  /**
   * @param source a directory with an export, or `owner/name` on the hub
   * @param cache folder for embeddings, of which the latest are kept
   * @throws UserError where the package or the export is missing
   */
  static async open(source: string, cache: string, bytes = BYTES_KEPT): Promise<Sam2> {
    const exported = await openExported(source);
    const encoder = await stampOf(path.join(source, 'onnx', 'vision_encoder.onnx')).catch(() => source);
    return new Sam2(exported, JSON.stringify([encoder, exported.preparation]), new EmbeddingStore(cache, bytes));
  }

  private constructor(exported: ExportedModel, identity: string, store: EmbeddingStore) {
    this.#exported = exported;
    this.#identity = identity;
    this.#store = store;
  }

  /** @throws UserError for a picture that cannot be read */
  async embed(file: string): Promise<Embedded> {
    const stamp = await stampOf(file).catch(() => file);
    if (this.#last?.stamp === stamp) return this.#last.embedded;
    const bytes = await readFile(file).catch(() => '');
    const key = createHash('sha256').update(this.#identity).update(bytes).digest('hex');
    const { size, ...embeddings } = await this.#store.get(key, () => this.#made(file));
    const [width, height] = size!.data as unknown as [number, number];
    const embedded = { size: { width, height }, embeddings };
    this.#last = { stamp, embedded };
    return embedded;
  }

  async #made(file: string): Promise<Record<string, Numbers>> {
    const { model, library, preparation } = this.#exported;
    const pixels = await decodeImage(file);
    const dims = [1, 3, preparation.height, preparation.width];
    const embeddings = await model.get_image_embeddings({
      pixel_values: new library.Tensor('float32', prepared(pixels, preparation), dims),
    });
    return { ...embeddings, size: { data: Float32Array.of(pixels.width, pixels.height), dims: [2] } };
  }

  /** The mask of one object. */
  async mask({ size, embeddings }: Embedded, { box, points }: Outlined): Promise<Mask> {
    const { model, library, preparation } = this.#exported;
    const seen = seenSize(size, preparation);
    const scaled = (numbers: readonly number[]): Float32Array =>
      Float32Array.from(numbers, (value, i) =>
        i % 2 === 0 ? value * (seen.width / size.width) : value * (seen.height / size.height),
      );
    const { Tensor } = library;
    const known = Object.entries(embeddings).map(
      ([name, { data, dims }]) => [name, new Tensor('float32', data, dims)] as const,
    );
    const prompted = points.length > 0 && {
      input_points: new Tensor('float32', scaled(points.flat()), [1, 1, points.length, 2]),
      input_labels: new Tensor(
        'int64',
        BigInt64Array.from(points, () => 1n),
        [1, 1, points.length],
      ),
    };
    const { iou_scores: scores, pred_masks: masks } = await model({
      ...Object.fromEntries(known),
      ...prompted,
      input_boxes: new Tensor('float32', scaled(box), [1, 1, 4]),
    });
    const best = scores.data.indexOf(Math.max(...scores.data));
    const [rows, columns] = masks.dims.slice(-2) as [number, number];
    const data = masks.data.subarray(best * rows * columns, (best + 1) * rows * columns);
    return binary({ data, width: columns, height: rows }, size, seen, preparation);
  }

  /** What the masks of all objects cover together. */
  async union(file: string, objects: readonly Outlined[]): Promise<Mask> {
    const embedded = await this.embed(file);
    const all = emptyMask(embedded.size.width, embedded.size.height);
    for (const object of objects) {
      const { data } = await this.mask(embedded, object);
      for (let i = 0; i < data.length; i++) all.data[i]! |= data[i]!;
    }
    return all;
  }
}

/** Tells a file from one that was put into its place. */
async function stampOf(file: string): Promise<string> {
  const { size, mtimeMs } = await stat(file);
  return JSON.stringify([file, size, mtimeMs]);
}

/** The size at which the model sees the picture, without what is empty. */
function seenSize({ width, height }: Size, preparation: Preparation): Size {
  if (!preparation.keepsAspect) return { width: preparation.width, height: preparation.height };
  const scale = Math.min(preparation.width / width, preparation.height / height);
  return { width: Math.trunc(width * scale + 0.5), height: Math.trunc(height * scale + 0.5) };
}

/** Normalised channels, [3, height, width]. */
function prepared(pixels: Pixels, preparation: Preparation): Float32Array {
  const seen = resizeBilinear(pixels, seenSize(pixels, preparation));
  const { width, height, mean, std, rescaleFactor } = preparation;
  const out = new Float32Array(3 * width * height);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < seen.height; y++) {
      for (let x = 0; x < seen.width; x++) {
        const value = seen.data[(y * seen.width + x) * 3 + channel]! * rescaleFactor;
        out[(channel * height + y) * width + x] = (value - mean[channel]!) / std[channel]!;
      }
    }
  }
  return out;
}

/** Where the logits at the picture's size are positive. */
function binary(
  logits: { data: Float32Array; width: number; height: number },
  size: Size,
  seen: Size,
  preparation: Preparation,
): Mask {
  const scaled = scaleMap(preparation.keepsAspect ? withoutPadding(logits, seen, preparation) : logits, size);
  const mask = emptyMask(size.width, size.height);
  scaled.data.forEach((value, i) => (mask.data[i] = Number(value > 0)));
  return mask;
}

/** As SAM does: at the size that the model takes, cut to what the picture fills. */
function withoutPadding(
  logits: { data: Float32Array; width: number; height: number },
  seen: Size,
  { width, height }: Preparation,
) {
  const whole = scaleMap(logits, { width, height });
  const data = new Float32Array(seen.width * seen.height);
  for (let y = 0; y < seen.height; y++) {
    data.set(whole.data.subarray(y * width, y * width + seen.width), y * seen.width);
  }
  return { data, width: seen.width, height: seen.height };
}
