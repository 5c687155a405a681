/**
 * The weights of a Hugging Face directory, whether they are one file (`model.safetensors`) or several named by
 * `model.safetensors.index.json`. The index is as untrusted as the files: a shard is a file of the directory itself.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { itemSize, type DType } from './dtype.ts';
import { TorchError } from './native.ts';
import { fileBytes, SafetensorsFile, saveSafetensors, writeDurably, type LazyTensor } from './safetensors.ts';
import type { Tensor } from './tensor.ts';

const singleFile = 'model.safetensors';
const indexFile = 'model.safetensors.index.json';
const ours = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/;
const maxIndexBytes = 100 << 20;

/** All tensors of a directory by name, whichever file holds them. */
export class SafetensorsIndex {
  readonly directory: string;
  readonly #files: readonly SafetensorsFile[];
  readonly #fileOf: ReadonlyMap<string, SafetensorsFile>;

  constructor(directory: string, files: readonly SafetensorsFile[], fileOf: ReadonlyMap<string, SafetensorsFile>) {
    this.directory = directory;
    this.#files = files;
    this.#fileOf = fileOf;
  }

  get names(): string[] {
    return [...this.#fileOf.keys()];
  }
  has(name: string): boolean {
    return this.#fileOf.has(name);
  }
  shapeOf(name: string): readonly number[] {
    return this.#file(name).shapeOf(name);
  }
  dtypeOf(name: string): DType {
    return this.#file(name).dtypeOf(name);
  }
  /** The tensor as a view of its file, as `SafetensorsFile.get`. */
  get(name: string): Tensor {
    return this.#file(name).get(name);
  }
  close(): void {
    for (const file of this.#files) file.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }

  #file(name: string): SafetensorsFile {
    const file = this.#fileOf.get(name);
    if (!file) throw new TorchError(`${this.directory} has no tensor ${name}`);
    return file;
  }
}

/**
 * Opens the weights of a directory and checks every header; the tensors themselves are read when they are used.
 * @throws TorchError when there are no weights, a shard is missing or damaged, or the index names what no shard has.
 */
export function openSafetensors(directory: string): SafetensorsIndex {
  const single = join(directory, singleFile);
  const index = join(directory, indexFile);
  if (existsSync(single)) {
    const file = new SafetensorsFile(single);
    return new SafetensorsIndex(directory, [file], new Map(file.names.map((name) => [name, file])));
  }
  if (!existsSync(index)) throw new TorchError(`${directory} has no weights: neither ${singleFile} nor ${indexFile}`);

  const weightMap = readWeightMap(index);
  const files = new Map<string, SafetensorsFile>();
  try {
    for (const shard of new Set(weightMap.values())) {
      const path = join(directory, shard);
      if (!existsSync(path)) throw new TorchError(`${index} names ${shard}, which is missing`);
      files.set(shard, new SafetensorsFile(path));
    }
    const fileOf = new Map<string, SafetensorsFile>();
    for (const [name, shard] of weightMap) {
      const file = files.get(shard);
      if (!file?.has(name)) throw new TorchError(`${index} places ${name} in ${shard}, which does not have it`);
      fileOf.set(name, file);
    }
    return new SafetensorsIndex(directory, [...files.values()], fileOf);
  } catch (error) {
    for (const file of files.values()) file.close();
    throw error;
  }
}

function readWeightMap(path: string): Map<string, string> {
  const stat = statSync(path);
  if (!stat.isFile()) throw new TorchError(`${path} is no file`);
  const { size } = stat;
  if (size > maxIndexBytes) throw new TorchError(`${path} is no index of shards: it has ${size} bytes`);
  let index: unknown;
  try {
    index = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new TorchError(`${path} is no JSON: ${(error as Error).message}`);
  }
  const weightMap = isObject(index) ? index.weight_map : undefined;
  if (!isObject(weightMap)) throw new TorchError(`${path} has no weight_map`);
  return new Map(
    Object.entries(weightMap).map(([name, shard]) => {
      if (typeof shard !== 'string' || !/^[^/\\\0]+\.safetensors$/.test(shard))
        throw new TorchError(`${path}: ${JSON.stringify(shard)} for ${name} is not the name of a shard beside it`);
      return [name, shard];
    }),
  );
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Writes the weights of a directory as Hugging Face does: one file where they fit into `maxShardBytes`, else shards
 * in the order of the map and their index. Weights that the directory had before are removed.
 */
export function saveShardedSafetensors(
  directory: string,
  tensors: ReadonlyMap<string, Tensor | LazyTensor>,
  maxShardBytes = 5e9,
): void {
  mkdirSync(directory, { recursive: true });
  const shards = cut(tensors, maxShardBytes);
  const total = String(shards.length).padStart(5, '0');
  const nameOf = (i: number): string =>
    shards.length === 1 ? singleFile : `model-${String(i + 1).padStart(5, '0')}-of-${total}.safetensors`;

  const written = new Set(shards.map((_, i) => nameOf(i)));
  shards.forEach((shard, i) => {
    saveSafetensors(join(directory, nameOf(i)), shard);
  });
  if (shards.length > 1) {
    const weightMap = shards.flatMap((shard, i) => [...shard.keys()].map((name) => [name, nameOf(i)] as const));
    const totalSize = [...tensors.values()].reduce((sum, each) => sum + fileBytes(each), 0);
    const elements = [...tensors.values()].reduce((sum, each) => sum + fileBytes(each) / itemSize[each.dtype], 0);
    const metadata = { total_parameters: elements, total_size: totalSize };
    const index = { metadata, weight_map: Object.fromEntries(weightMap) };
    writeDurably(join(directory, indexFile), [Buffer.from(`${JSON.stringify(index, null, 2)}\n`)]);
    written.add(indexFile);
  }
  for (const name of readdirSync(directory)) if (ours.test(name) && !written.has(name)) rmSync(join(directory, name));
}

/** Fills shards in the order of the map; a tensor larger than a shard gets one of its own. */
function cut<T extends Tensor | LazyTensor>(tensors: ReadonlyMap<string, T>, maxShardBytes: number): Map<string, T>[] {
  let shard = new Map<string, T>();
  const shards = [shard];
  let bytes = 0;
  for (const [name, each] of tensors) {
    const size = fileBytes(each);
    if (shard.size > 0 && bytes + size > maxShardBytes) {
      shard = new Map();
      shards.push(shard);
      bytes = 0;
    }
    shard.set(name, each);
    bytes += size;
  }
  return shards;
}
