/** A dataset in parts that share no picture. */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { gone, kept } from '@visurf/torch/signals';
import { fileError, UserError } from '../errors.ts';
import type { Samples } from '../types.ts';
import { permutation } from './cursor.ts';
import { readDataset, type DatasetOptions } from './dataset.ts';
import { unusable } from './findings.ts';
import { lineOf } from './lineof.ts';
import { paced } from './paced.ts';
import { pickSamples } from './samples.ts';
import { stemOf } from './sharing.ts';
import { trustFolders } from './trusted.ts';
import { Numbers, Texts } from './texts.ts';
import { filesOf } from './videos.ts';

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
  const { output, seed, signal } = options;
  const { samples, findings, hashOf, folders } = await readDataset(file, options);
  const error = unusable(findings);
  if (error) throw error;
  const parts = await splitSamples(samples, options, seed, { hashOf, signal });
  for (const [part, own] of parts) {
    if (own.length > 0) continue;
    throw new UserError(`nothing is left for ${part}`, {
      where: file,
      remedy: 'Samples that share a picture stay together: ask for other shares, or use more pictures.',
    });
  }
  const written = [...parts].map(([part, own]) => ({ file: path.join(output, `${part}.jsonl`), own }));
  try {
    await mkdir(output, { recursive: true });
    for (const each of written) kept(aside(each.file));
    for (const each of written) await writeLines(aside(each.file), each.own, output, signal);
    for (const each of written) {
      await rename(aside(each.file), each.file);
      trustFolders(path.resolve(each.file), folders);
      gone(aside(each.file));
    }
  } catch (thrown) {
    for (const each of written) await rm(aside(each.file), { force: true });
    throw fileError(thrown, { where: output });
  }
  return Object.fromEntries([...parts].map(([part, own]) => [part, own.length]));
}

const aside = (file: string): string => `${file}.part`;

/** Characters that are written at once. */
const CHUNK = 2 ** 18;

async function writeLines(file: string, samples: Samples, folder: string, signal?: AbortSignal): Promise<void> {
  const descriptor = openSync(file, 'w');
  let text = '';
  try {
    await paced(
      samples,
      (sample) => {
        text += `${lineOf(sample, folder)}\n`;
        if (text.length < CHUNK) return;
        writeFileSync(descriptor, text);
        text = '';
      },
      { signal },
    );
    writeFileSync(descriptor, text);
  } finally {
    closeSync(descriptor);
  }
}

export interface GroupingOptions {
  /** Hash of what an image file holds. */
  readonly hashOf: (file: string) => string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Samples by part, in their order; whatever shares a picture, by file, content or name, is in one part. */
export async function splitSamples(
  samples: Samples,
  { validation, test }: Shares,
  seed: number,
  options: GroupingOptions,
): Promise<Map<Part, Samples>> {
  const groups = await groupsOf(samples, options);
  const wanted = new Map<Part, number>([
    ['train', (1 - validation - test) * samples.length],
    ['validation', validation * samples.length],
    ['test', test * samples.length],
  ]);
  const left = new Map([...wanted].filter(([, count]) => count > 0));
  const names = [...left.keys()];
  const partOf = new Uint8Array(samples.length);
  const order = Array.from(permutation(groups.length, seed, 0), (i) => groups[i]!);
  // Large groups first: small ones then even out.
  order.sort((a, b) => b.length - a.length);
  await paced(
    order,
    (group) => {
      const [emptiest] = [...left].reduce((a, b) => (b[1] / wanted.get(b[0])! > a[1] / wanted.get(a[0])! ? b : a));
      left.set(emptiest, left.get(emptiest)! - group.length);
      for (const place of group) partOf[place] = names.indexOf(emptiest);
    },
    options,
  );
  return new Map(
    names.map((name, number) => {
      const own = new Numbers();
      for (const [place, part] of partOf.entries()) if (part === number) own.push(place);
      return [name, pickSamples(samples, own.values)];
    }),
  );
}

/** Places of samples that hang together by their pictures. */
async function groupsOf(samples: Samples, { hashOf, signal }: GroupingOptions): Promise<number[][]> {
  const parent = Uint32Array.from({ length: samples.length }, (_, i) => i);
  const rootOf = (i: number): number => {
    let at = i;
    while (parent[at] !== at) at = parent[at] = parent[parent[at]!]!;
    return at;
  };
  const keys = new Texts();
  const first = new Numbers();
  await paced(
    samples,
    (sample, i) => {
      for (const file of filesOf(sample)) {
        for (const key of [`file ${file}`, `content ${hashOf(file) ?? file}`, ...copyKeys(file)]) {
          const known = keys.size;
          const number = keys.add(key);
          if (number === known) first.push(i);
          else parent[rootOf(i)] = rootOf(first.values[number]!);
        }
      }
    },
    { signal },
  );
  return [...Map.groupBy(parent.keys(), rootOf).values()];
}

/** Names of augmented copies, which differ in what a tool has added. */
const copyKeys = (file: string): string[] => (/\.rf\.[\da-f]{8,}\./i.test(file) ? [`copy ${stemOf(file)}`] : []);
