/**
 * The safetensors format: 8 bytes of header length, a JSON header, raw little-endian tensors. Files are memory-mapped
 * and untrusted: the header is bounded and every offset is checked before a byte is read.
 */
import { closeSync, fsyncSync, fstatSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';

import { dtypeCode, itemSize, type DType } from './dtype.ts';
import { native, op, TorchError } from './native.ts';
import { keep, scope } from './scope.ts';
import { one, type Tensor } from './tensor.ts';

const dtypes: ReadonlyMap<string, DType> = new Map<string, DType>([
  ['F64', 'float64'],
  ['F32', 'float32'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['I64', 'int64'],
  ['I32', 'int32'],
  ['I16', 'int16'],
  ['I8', 'int8'],
  ['U8', 'uint8'],
  ['BOOL', 'bool'],
]);
const codes = new Map([...dtypes].map(([code, dtype]) => [dtype, code]));
const maxHeaderBytes = 100 << 20;
const fromFile = op('from_file');

interface Entry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

function readHeader(path: string): { header: Record<string, unknown>; dataStart: number; size: number } {
  // A pipe that nobody writes to would wait forever to be opened.
  if (!statSync(path).isFile()) throw new TorchError(`${path} is no file`);
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const prefix = Buffer.alloc(8);
    if (readSync(file, prefix) < 8) throw new TorchError(`${path} is not a safetensors file: it has ${size} bytes`);
    const length = Number(prefix.readBigUInt64LE());
    if (length > maxHeaderBytes || 8 + length > size) {
      throw new TorchError(
        `${path} is truncated or not a safetensors file: its header claims ${length} bytes of ${size}`,
      );
    }
    const bytes = Buffer.alloc(length);
    readSync(file, bytes, 0, length, 8);
    const header: unknown = JSON.parse(bytes.toString('utf8'));
    if (!isObject(header)) throw new TorchError(`${path}: the header is no JSON object`);
    return { header, dataStart: 8 + length, size };
  } catch (error) {
    if (error instanceof SyntaxError) throw new TorchError(`${path}: the header is no JSON: ${error.message}`);
    throw error;
  } finally {
    closeSync(file);
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isCount = (each: unknown): each is number => Number.isSafeInteger(each) && (each as number) >= 0;

function parseMetadata(path: string, value: unknown): Record<string, string> {
  if (!isObject(value) || !Object.values(value).every((each) => typeof each === 'string'))
    throw new TorchError(`${path}: __metadata__ is not a map of strings`);
  return value as Record<string, string>;
}

function parseEntry(path: string, name: string, value: unknown): Entry {
  const fail = (what: string): never => {
    throw new TorchError(`${path}: tensor ${name} ${what}`);
  };
  if (!isObject(value)) return fail('has no description');
  const { dtype, shape, data_offsets: offsets } = value;
  const type = dtypes.get(dtype as string);
  if (!type) return fail(`has the unknown dtype ${JSON.stringify(dtype)}`);
  if (!Array.isArray(shape) || !shape.every(isCount)) return fail('has no valid shape');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) return fail('has no valid offsets');
  const [start = 0, end = 0] = offsets;
  const bytes = shape.reduce((a, b) => a * b, 1) * itemSize[type];
  if (end - start !== bytes)
    return fail(`of shape [${shape.join(', ')}] needs ${bytes} bytes, its offsets span ${end - start}`);
  return { dtype: type, shape, start, end };
}

/** The format has tensors fill the data without holes and overlaps; what it forbids could hide other content. */
function checkLayout(path: string, entries: ReadonlyMap<string, Entry>, dataBytes: number): void {
  let position = 0;
  for (const [name, { start, end }] of [...entries].sort(([, a], [, b]) => a.start - b.start || a.end - b.end)) {
    if (start !== position)
      throw new TorchError(
        `${path}: tensor ${name} ${start < position ? 'overlaps another' : 'follows a hole'} at byte ${start} of the data`,
      );
    if (end > dataBytes)
      throw new TorchError(
        `${path} is truncated: it has ${dataBytes} bytes of tensors, ${name} lies at ${start} to ${end}`,
      );
    position = end;
  }
  if (position < dataBytes)
    throw new TorchError(`${path} is damaged: ${dataBytes - position} bytes at its end belong to no tensor`);
}

/** An open file: tensors are views of the mapping until they are copied. */
export class SafetensorsFile {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #entries = new Map<string, Entry>();
  readonly #dataStart: number;
  readonly #bytes: Tensor;

  /** @throws TorchError when the file is not one, is truncated, or describes a tensor that does not fit. */
  constructor(path: string) {
    const { header, dataStart, size } = readHeader(path);
    this.path = path;
    this.#dataStart = dataStart;
    const { __metadata__: metadata = {}, ...tensors } = header;
    this.metadata = parseMetadata(path, metadata);
    for (const [name, value] of Object.entries(tensors)) this.#entries.set(name, parseEntry(path, name, value));
    checkLayout(path, this.#entries, size - dataStart);
    this.#bytes = keep(one(fromFile, path, false, size, dtypeCode('uint8')));
  }

  get names(): string[] {
    return [...this.#entries.keys()];
  }
  has(name: string): boolean {
    return this.#entries.has(name);
  }
  shapeOf(name: string): readonly number[] {
    return this.#entry(name).shape;
  }
  dtypeOf(name: string): DType {
    return this.#entry(name).dtype;
  }
  /** The tensor as a view of the file: reading it reads the disk, writing to it changes only this process's copy. */
  get(name: string): Tensor {
    const { dtype, shape, start, end } = this.#entry(name);
    return scope(() => {
      const offset = this.#dataStart + start;
      const bytes = this.#bytes.narrow(0, offset, end - start);
      // A view as another dtype needs an aligned offset, which old files do not promise.
      const aligned = offset % itemSize[dtype] === 0 ? bytes : bytes.clone();
      return aligned.viewAs(dtype).view(...shape);
    });
  }
  close(): void {
    this.#bytes.dispose();
  }
  [Symbol.dispose](): void {
    this.close();
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name);
    if (!entry) throw new TorchError(`${this.path} has no tensor ${name}`);
    return entry;
  }
}

/** A tensor that is made when it is written and freed after that: a file may hold more than memory does. */
export interface LazyTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly make: () => Tensor;
}

/** Bytes that a tensor takes in a file. @internal */
export const fileBytes = ({ dtype, shape }: Pick<LazyTensor, 'dtype' | 'shape'>): number =>
  shape.reduce((product, size) => product * size, 1) * itemSize[dtype];

/**
 * Writes tensors in the order of the map, and flushes them to the disk. The file appears whole or not at all, so
 * tensors that are views of the file it replaces may be among them.
 */
export function saveSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor | LazyTensor>,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): void {
  const header = new Map<string, unknown>([['__metadata__', metadata]]);
  let offset = 0;
  for (const [name, each] of tensors) {
    const end = offset + fileBytes(each);
    const dtype = codes.get(each.dtype);
    if (!dtype) throw new TorchError(`tensors of ${each.dtype} have no form in safetensors`);
    if (header.has(name)) throw new TorchError(`${name} cannot be the name of a tensor`);
    header.set(name, { dtype, shape: each.shape, data_offsets: [offset, end] });
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  writeDurably(path, contents(length, padded, tensors.values()));
}

function* contents(length: Buffer, header: Buffer, tensors: Iterable<Tensor | LazyTensor>): Generator<Buffer> {
  yield length;
  yield header;
  for (const each of tensors) {
    yield scope(() => Buffer.from(native.toBytes(('make' in each ? each.make() : each).handle)));
  }
}

/** Writes a file beside `path`, flushes it, and renames it to `path`. @internal */
export function writeDurably(path: string, parts: Iterable<Buffer>): void {
  const partial = `${path}.partial`;
  try {
    const file = openSync(partial, 'w');
    try {
      for (const part of parts) {
        let written = 0;
        while (written < part.length) written += writeSync(file, part, written);
      }
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(partial, path);
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}
