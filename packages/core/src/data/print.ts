/** Whether a run goes on with the data it began with: a few numbers that a checkpoint keeps of its samples. */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import path from 'node:path';
import type { Sample } from '../types.ts';

export interface DataPrint {
  /** Name of the file. */
  readonly file: string;
  readonly samples: number;
  /** Of all samples, in their order. */
  readonly sha256: string;
  /** Of all samples, in whichever order. */
  readonly unordered: string;
}

/** What a sample is, wherever its folder lies: an image counts by its name and the number of its bytes. */
function hashOf({ images, source: _, ...sample }: Sample): Buffer {
  const seen = images.map((file) => [path.basename(file), statSync(file, { throwIfNoEntry: false })?.size]);
  return createHash('sha256')
    .update(JSON.stringify([sample, seen]))
    .digest();
}

export function printOf(file: string, samples: readonly Sample[]): DataPrint {
  return printOfHashes(file, samples.map(hashOf));
}

function printOfHashes(file: string, hashes: readonly Buffer[]): DataPrint {
  const digest = (all: readonly Buffer[]): string => createHash('sha256').update(Buffer.concat(all)).digest('hex');
  return {
    file: path.basename(file),
    samples: hashes.length,
    sha256: digest(hashes),
    unordered: digest(hashes.toSorted((a, b) => a.compare(b))),
  };
}

/** What became of the samples; undefined where they are as they were. */
export function dataChange(before: DataPrint, samples: readonly Sample[]): string | undefined {
  const hashes = samples.map(hashOf);
  const of = (some: readonly Buffer[]): DataPrint => printOfHashes(before.file, some);
  if (of(hashes).sha256 === before.sha256) return undefined;
  const added = hashes.length - before.samples;
  if (added > 0 && of(hashes.slice(0, before.samples)).sha256 === before.sha256)
    return `${added} samples were appended`;
  if (of(hashes).unordered === before.unordered) return 'the samples are in another order';
  if (added === 0) return 'samples were edited';
  return `it had ${before.samples} samples and has ${hashes.length}`;
}
