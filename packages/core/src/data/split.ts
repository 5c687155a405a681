/** A dataset in parts that share no picture. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileError, UserError } from '../errors.ts';
import type { Sample } from '../types.ts';
import { permutation } from './cursor.ts';
import { loadDataset, type DatasetOptions } from './dataset.ts';
import { lineOf } from './lineof.ts';
import { stemOf } from './sharing.ts';

export interface Shares {
  readonly validation: number;
  readonly test: number;
}

export type Part = 'train' | 'validation' | 'test';

export interface SplitOptions extends Shares, DatasetOptions {
  /** The folder that gets train.jsonl, validation.jsonl and test.jsonl. */
  readonly output: string;
  readonly seed: number;
}

/** Samples in every part. @throws UserError where the data cannot be used, or would have to share pictures */
export async function splitData(file: string, options: SplitOptions): Promise<Readonly<Partial<Record<Part, number>>>> {
  const { output, seed } = options;
  const parts = await splitSamples(await loadDataset(file, options), options, seed);
  for (const [part, samples] of parts) {
    if (samples.length > 0) continue;
    throw new UserError(`nothing is left for ${part}`, {
      where: file,
      remedy: 'Samples that share a picture stay together: ask for other shares, or use more pictures.',
    });
  }
  try {
    await mkdir(output, { recursive: true });
    const written = [...parts].map(([part]) => path.join(output, `${part}.jsonl`));
    for (const [i, [, samples]] of [...parts].entries()) {
      await writeFile(`${written[i]!}.part`, samples.map((sample) => `${lineOf(sample, output)}\n`).join(''));
    }
    for (const each of written) await rename(`${each}.part`, each);
  } catch (error) {
    throw fileError(error, { where: output });
  }
  return Object.fromEntries([...parts].map(([part, samples]) => [part, samples.length]));
}

/** Samples by part, in their order; whatever shares a picture, by file, content or name, is in one part. */
export async function splitSamples(
  samples: readonly Sample[],
  { validation, test }: Shares,
  seed: number,
): Promise<Map<Part, Sample[]>> {
  const groups = await groupsOf(samples);
  const wanted = new Map<Part, number>([
    ['train', (1 - validation - test) * samples.length],
    ['validation', validation * samples.length],
    ['test', test * samples.length],
  ]);
  const part = new Map<Sample, Part>();
  const left = new Map([...wanted].filter(([, count]) => count > 0));
  const order = [...permutation(groups.length, seed, 0)].map((i) => groups[i]!);
  // Large groups first: small ones then even out.
  for (const group of order.sort((a, b) => b.length - a.length)) {
    const [emptiest] = [...left].reduce((a, b) => (b[1] / wanted.get(b[0])! > a[1] / wanted.get(a[0])! ? b : a));
    left.set(emptiest, left.get(emptiest)! - group.length);
    for (const sample of group) part.set(sample, emptiest);
  }
  return new Map([...left.keys()].map((name) => [name, samples.filter((sample) => part.get(sample) === name)]));
}

/** Samples that hang together by their pictures. */
async function groupsOf(samples: readonly Sample[]): Promise<Sample[][]> {
  const parent = samples.map((_, i) => i);
  const rootOf = (i: number): number => {
    let at = i;
    while (parent[at] !== at) at = parent[at] = parent[parent[at]!]!;
    return at;
  };
  const first = new Map<string, number>();
  const hashes = new Map<string, string>();
  for (const [i, { images }] of samples.entries()) {
    for (const file of images) {
      if (!hashes.has(file)) hashes.set(file, await contentHash(file));
      for (const key of [`file ${file}`, `content ${hashes.get(file)!}`, ...copyKeys(file)]) {
        const known = first.get(key);
        if (known === undefined) first.set(key, i);
        else parent[rootOf(i)] = rootOf(known);
      }
    }
  }
  return [...Map.groupBy(samples.keys(), rootOf).values()].map((group) => group.map((i) => samples[i]!));
}

/** Names of augmented copies, which differ in what a tool has added. */
const copyKeys = (file: string): string[] => (/\.rf\.[\da-f]{8,}\./i.test(file) ? [`copy ${stemOf(file)}`] : []);

async function contentHash(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
