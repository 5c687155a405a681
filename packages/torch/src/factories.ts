/**
 * New tensors. The dtype is float32 unless said: an integral JavaScript number would make int64 otherwise. The device is that
 * of `withDevice` unless said.
 */
import { currentDevice } from './device.ts';
import { arrayTypes, dtypeCode, dtypeOfArray, isFloat, type DType, type TypedArray } from './dtype.ts';
import { native, op } from './native.ts';
import { many, one, Tensor, type Device } from './tensor.ts';

export interface Options {
  readonly dtype?: DType;
  readonly device?: Device;
}

type Nested = number | boolean | readonly Nested[];

const ids = {
  empty: op('empty.memory_format'),
  full: op('full'),
  arange: op('arange.start_step'),
  randn: op('randn.generator'),
  rand: op('rand.generator'),
  cat: op('cat'),
  stack: op('stack'),
  eye: op('eye'),
  meshgrid: op('meshgrid.indexing'),
};

const place = ({ dtype = 'float32', device = currentDevice() }: Options): [number, null, string] => [
  dtypeCode(dtype),
  null,
  device,
];

/** The shape of nested arrays, whose numbers are appended to `flat` in row-major order. */
function flatten(data: Nested, flat: (number | boolean)[]): number[] {
  if (typeof data === 'number' || typeof data === 'boolean') {
    flat.push(data);
    return [];
  }
  let inner: number[] | undefined;
  for (const each of data) {
    const shape = flatten(each, flat);
    inner ??= shape;
    if (shape.length !== inner.length || shape.some((size, dim) => size !== inner?.[dim]))
      throw new TypeError(`nested arrays of different shapes, [${inner.join(', ')}] and [${shape.join(', ')}]`);
  }
  return [data.length, ...(inner ?? [])];
}

/** @throws TypeError where integers of this dtype would be made from what is none, or no double can tell apart. */
function checkIntegers(values: Float64Array, dtype: DType): void {
  if (dtype === 'bool' || isFloat(dtype)) return;
  const bad = values.find((value) => !Number.isSafeInteger(Math.trunc(value)));
  if (bad !== undefined) throw new TypeError(`${bad} is no ${dtype}: pass a BigInt64Array for integers beyond 2^53`);
}

/**
 * A copy of `data`: a typed array (its own dtype unless said; Uint16Array needs one), or numbers, nested or flat.
 * @example tensor([[1, 2], [3, 4]])
 * @example tensor(new Float32Array(6), { shape: [2, 3] })
 */
export function tensor(data: TypedArray | Nested, options: Options & { shape?: readonly number[] } = {}): Tensor {
  const { device = currentDevice() } = options;
  let result: Tensor;
  if (ArrayBuffer.isView(data)) {
    const dtype = options.dtype ?? dtypeOfArray(data);
    if (!(data instanceof arrayTypes[dtype])) throw new TypeError(`a ${data.constructor.name} cannot hold ${dtype}`);
    result = new Tensor(native.fromBytes(data, options.shape ?? [data.length], dtypeCode(dtype)));
  } else {
    const flat: (number | boolean)[] = [];
    const nested = flatten(data, flat);
    const dtype = options.dtype ?? (typeof flat[0] === 'boolean' ? 'bool' : 'float32');
    const values = Float64Array.from(flat, Number);
    checkIntegers(values, dtype);
    const doubles = new Tensor(native.fromBytes(values, options.shape ?? nested, dtypeCode('float64')));
    if (dtype === 'float64') result = doubles;
    else {
      result = doubles.to(dtype);
      doubles.dispose();
    }
  }
  if (device === 'cpu') return result;
  const moved = result.to({ device });
  result.dispose();
  return moved;
}

export const empty = (shape: readonly number[], options: Options = {}): Tensor =>
  one(ids.empty, shape, ...place(options));
export const full = (shape: readonly number[], value: number, options: Options = {}): Tensor =>
  one(ids.full, shape, value, ...place(options));
export const zeros = (shape: readonly number[], options: Options = {}): Tensor => full(shape, 0, options);
export const ones = (shape: readonly number[], options: Options = {}): Tensor => full(shape, 1, options);
export const eye = (n: number, options: Options = {}): Tensor => one(ids.eye, n, ...place(options));

/** start, start + step, ... below end; int64 unless said. */
export const arange = (start: number, end: number, step = 1, options: Options = {}): Tensor =>
  one(ids.arange, start, end, step, ...place({ dtype: 'int64', ...options }));

const generators = new FinalizationRegistry<number>((id) => {
  native.releaseGenerator(id);
});

/** A stream of random numbers of its own, with a state that can be saved. */
export class Generator {
  readonly #id: number;
  readonly device: Device;
  /**
   * @param seed an integer from 0 to 2^64 - 1
   * @param device whose own numbers it gives; those of the CPU can be had on every device
   */
  constructor(seed: number | bigint, device: Device = 'cpu') {
    this.device = device;
    this.#id = native.newGenerator(BigInt(seed), device);
    generators.register(this, this.#id);
  }
  /** @internal */
  get id(): number {
    return this.#id;
  }
  /** The whole state, as bytes. */
  get state(): Tensor {
    return new Tensor(native.generatorState(this.#id));
  }
  set state(value: Tensor) {
    native.setGeneratorState(this.#id, value.handle);
  }
}

type RandomOptions = Options & { readonly generator?: Generator };

/** Numbers are drawn where the generator is, those of the CPU to be moved. */
function random(operator: number, shape: readonly number[], { generator, ...options }: RandomOptions): Tensor {
  const { device = currentDevice() } = options;
  if (generator?.device !== 'cpu' || device === 'cpu')
    return one(operator, shape, generator?.id ?? null, ...place(options));
  const drawn = one(operator, shape, generator.id, ...place({ ...options, device: 'cpu' }));
  const moved = drawn.to({ device });
  drawn.dispose();
  return moved;
}

/** Standard normal numbers. */
export const randn = (shape: readonly number[], options: RandomOptions = {}): Tensor =>
  random(ids.randn, shape, options);
/** Uniform numbers in [0, 1). */
export const rand = (shape: readonly number[], options: RandomOptions = {}): Tensor => random(ids.rand, shape, options);

const handles = (tensors: readonly Tensor[]): number[] => tensors.map((each) => each.handle);

export const cat = (tensors: readonly Tensor[], dim = 0): Tensor => one(ids.cat, handles(tensors), dim);
export const stack = (tensors: readonly Tensor[], dim = 0): Tensor => one(ids.stack, handles(tensors), dim);
export const meshgrid = (tensors: readonly Tensor[]): Tensor[] => many(ids.meshgrid, handles(tensors), 'ij');

/**
 * Any ATen operator by name. Tensors, lists of them and generators stand where the schema wants them; dtypes, layouts
 * and memory formats are PyTorch's numbers, a device is a string. Several results are an array; no tensor is `undefined`.
 * @example callOp('add.Tensor', a, b)
 * @throws TorchError with the operator and the shapes of its arguments.
 */
export function callOp(name: string, ...values: readonly unknown[]): unknown {
  const lower = (value: unknown): never => {
    if (value instanceof Tensor) return value.handle as never;
    if (value instanceof Generator) return value.id as never;
    return (Array.isArray(value) ? value.map(lower) : value) as never;
  };
  const raise = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(raise);
    return value === 0 ? undefined : new Tensor(value as number);
  };
  const operator = op(name);
  const isTensor = native.results(operator);
  const result = native.call(operator, ...values.map(lower));
  if (isTensor.length > 1) return (result as unknown[]).map((each, i) => (isTensor[i] ? raise(each) : each));
  return isTensor[0] ? raise(result) : result;
}
