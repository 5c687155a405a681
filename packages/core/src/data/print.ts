/** Whether a run goes on with the data it began with: a few numbers that a checkpoint keeps of its samples. */
import { createHash, hash } from 'node:crypto';
import { statSync } from 'node:fs';
import path from 'node:path';
import type { Sample, Samples } from '../types.ts';
import { paced, type PaceOptions } from './paced.ts';

export interface DataPrint {
  /** Name of the file. */
  readonly file: string;
  readonly samples: number;
  /** Of all samples, in their order. */
  readonly sha256: string;
  /** Of all samples, in whichever order. */
  readonly unordered: string;
}

/** Bytes of an image file; undefined where it is not there. */
export type BytesOf = (file: string) => number | undefined;

/** Bytes of a hash. */
const SIZE = 32;

/** The hashes of samples, one after the other. */
export class SampleHashes {
  readonly #bytesOf: BytesOf;
  #bytes = Buffer.alloc(SIZE * 64);
  #count = 0;

  constructor(bytesOf: BytesOf) {
    this.#bytesOf = bytesOf;
  }

  /** A sample is what it is wherever its folder lies: an image counts by its name and the number of its bytes. */
  add({ images, videos, source: _, ...sample }: Sample): void {
    const seenOf = (files: readonly string[]) => files.map((file) => [path.basename(file), this.#bytesOf(file)]);
    const clips = videos?.map(({ video, fps }) => [fps, seenOf(video)]);
    const seen = clips ? [seenOf(images), clips] : seenOf(images);
    if (this.#count * SIZE === this.#bytes.length) {
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(this.#bytes.length)]);
    }
    hash('sha256', JSON.stringify([sample, seen]), 'buffer').copy(this.#bytes, SIZE * this.#count++);
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, SIZE * this.#count);
  }
}

export async function printOf(
  file: string,
  samples: Samples,
  bytesOf: BytesOf,
  options: PaceOptions = {},
): Promise<DataPrint> {
  const hashes = new SampleHashes(bytesOf);
  await paced(samples, (sample) => hashes.add(sample), options);
  return printOfHashes(file, hashes.bytes);
}

/** The hashes of samples whose images are where they say. */
export function hashesOf(samples: Samples): Buffer {
  const hashes = new SampleHashes((file) => statSync(file, { throwIfNoEntry: false })?.size);
  for (const sample of samples) hashes.add(sample);
  return hashes.bytes;
}

/** @param hashes of samples, one after the other */
export function printOfHashes(file: string, hashes: Buffer): DataPrint {
  const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  return {
    file: path.basename(file),
    samples: hashes.length / SIZE,
    sha256: digest(hashes),
    unordered: digest(sorted(hashes)),
  };
}

/** The same hashes in the order of their bytes. */
function sorted(hashes: Buffer): Buffer {
  const count = hashes.length / SIZE;
  // The first 40 bits, and 24 that say whose they are, sort as numbers.
  const keys = BigUint64Array.from({ length: count }, (_, i) => {
    const head = (BigInt(hashes.readUInt32BE(SIZE * i)) << 8n) | BigInt(hashes[SIZE * i + 4]!);
    return (head << 24n) | BigInt(i);
  }).sort();
  const order = Uint32Array.from(keys, (key) => Number(key & 0xffffffn));
  const compare = (a: number, b: number): number =>
    hashes.compare(hashes, SIZE * b, SIZE * b + SIZE, SIZE * a, SIZE * a + SIZE);
  for (let i = 1; i < count; i++) {
    const moved = order[i]!;
    let at = i;
    for (; at > 0 && compare(order[at - 1]!, moved) > 0; at--) order[at] = order[at - 1]!;
    order[at] = moved;
  }
  const out = Buffer.alloc(hashes.length);
  for (const [at, i] of order.entries()) hashes.copy(out, SIZE * at, SIZE * i, SIZE * i + SIZE);
  return out;
}

/** What became of the samples; undefined where they are as they were. */
export function dataChange(before: DataPrint, hashes: Buffer): string | undefined {
  const of = (some: Buffer): DataPrint => printOfHashes(before.file, some);
  const now = of(hashes);
  if (now.sha256 === before.sha256) return undefined;
  const added = now.samples - before.samples;
  if (added > 0 && of(hashes.subarray(0, SIZE * before.samples)).sha256 === before.sha256)
    return `${added} samples were appended`;
  if (now.unordered === before.unordered) return 'the samples are in another order';
  if (added === 0) return 'samples were edited';
  return `it had ${before.samples} samples and has ${now.samples}`;
}
