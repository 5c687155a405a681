/**
 * The tensor: a native handle with PyTorch's methods under camelCase names. Methods that only differ by operator are
 * made from the tables of `pointwise.ts`; the rest stands here.
 */
import { arrayTypes, dtypeCode, dtypeOf, type DType, type TypedArray } from './dtype.ts';
import { formatTensor } from './format.ts';
import { native, op, type Handle, type NativeValue } from './native.ts';
import { binary, binaryInPlace, compare, unary, type Pointwise } from './pointwise.ts';
import { adopt, disown } from './scope.ts';

/** `cpu`, `cuda`, `cuda:1`. */
export type Device = string;

const ids = {
  addmm: op('addmm'), addcmul_: op('addcmul_'), all: op('all'), any: op('any'), argmax: op('argmax'),
  baddbmm: op('baddbmm'), bmm: op('bmm'), clamp: op('clamp'), clone: op('clone'), contiguous: op('contiguous'),
  copy_: op('copy_'), cumsum: op('cumsum'), detach: op('detach'), expand: op('expand'), fill_: op('fill_.Scalar'),
  flip: op('flip'), gather: op('gather'), gelu: op('gelu'), index: op('index.Tensor'), indexAdd_: op('index_add_'),
  indexAdd: op('index_add'), indexCopy: op('index_copy'),
  indexCopy_: op('index_copy_'), indexSelect: op('index_select'), isfinite: op('isfinite'), item: op('item'),
  logSoftmax: op('log_softmax.int'), logicalAnd: op('logical_and'), logsumexp: op('logsumexp'),
  maskedFill: op('masked_fill.Scalar'), matmul: op('matmul'), max: op('max'), maxDim: op('max.dim'), mean: op('mean'),
  meanDim: op('mean.dim'), min: op('min'), mm: op('mm'), narrow: op('narrow'), norm: op('linalg_vector_norm'),
  normal_: op('normal_'), permute: op('permute'), pow: op('pow.Tensor_Scalar'), repeatInterleave: op('repeat_interleave.self_int'),
  roll: op('roll'),
  reshape: op('reshape'),
  addcmul: op('addcmul'),
  scatterAdd_: op('scatter_add_'), searchsorted: op('searchsorted.Tensor'), select: op('select.int'), slice: op('slice.Tensor'),
  softmax: op('softmax.int'), sort: op('sort'), split: op('split_with_sizes'), squeeze: op('squeeze.dim'), sum: op('sum'),
  sumDim: op('sum.dim_IntList'), t: op('t'), toDevice: op('to.device'), toCopy: op('_to_copy'), toDtype: op('to.dtype'), topk: op('topk'),
  transpose: op('transpose.int'), triu: op('triu'), unbind: op('unbind.int'), uniform_: op('uniform_'),
  unsqueeze: op('unsqueeze'), view: op('view'), viewDtype: op('view.dtype'), where: op('where.self'), zero_: op('zero_'),
}; // prettier-ignore

/** A call whose result is one new tensor. @internal */
export const one = (operator: number, ...values: readonly NativeValue[]): Tensor =>
  new Tensor(native.call(operator, ...values) as Handle);

/** A call whose results are several new tensors. @internal */
export const many = (operator: number, ...values: readonly NativeValue[]): Tensor[] =>
  (native.call(operator, ...values) as Handle[]).map((handle) => new Tensor(handle));

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging, @typescript-eslint/no-empty-object-type -- the methods are installed below
export interface Tensor extends Pointwise<Tensor> {}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging -- see above
export class Tensor {
  /** The native handle; 0 once disposed. @internal */
  handle: Handle;
  /** Set by `keep`. @internal */
  kept = false;
  #shape: readonly number[] | undefined;

  /** Wraps a handle that nobody else wraps. @internal */
  constructor(handle: Handle) {
    this.handle = handle;
    adopt(this);
  }

  get shape(): readonly number[] {
    return (this.#shape ??= native.shape(this.handle));
  }
  /** The size of dimension `dim`; negative counts from the end. */
  size(dim: number): number {
    const size = this.shape.at(dim);
    if (size === undefined) throw new RangeError(`no dimension ${dim} in a tensor of shape [${this.shape.join(', ')}]`);
    return size;
  }
  get numel(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }
  get dtype(): DType {
    return dtypeOf(native.dtype(this.handle));
  }
  get device(): Device {
    return native.device(this.handle);
  }

  // ---- reading

  /** The only element as a number. */
  item(): number {
    return Number(native.call(ids.item, this.handle));
  }
  /** All elements in row-major order as doubles. @throws TorchError on an int64 beyond 2^53. */
  toFloat64Array(): Float64Array {
    return new Float64Array(native.toNumbers(this.handle));
  }
  toArray(): number[] {
    return Array.from(this.toFloat64Array());
  }
  /** The elements as they are stored: float16 and bfloat16 as bits in a Uint16Array, bool as bytes. */
  toTypedArray(): TypedArray {
    return new arrayTypes[this.dtype](native.toBytes(this.handle));
  }
  toFloat32Array(): Float32Array {
    using converted = this.to('float32');
    return new Float32Array(native.toBytes(converted.handle));
  }
  toString(): string {
    return formatTensor(this);
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  // ---- life

  /** Frees the handle; a graph keeps what it saved. A second call does nothing. */
  dispose(): void {
    if (this.handle === 0) return;
    disown(this);
    this.release();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
  /** @internal */
  release(): void {
    native.dispose(this.handle);
    this.handle = 0;
  }

  // ---- autograd

  get requiresGrad(): boolean {
    return native.requiresGrad(this.handle);
  }
  requiresGrad_(value = true): this {
    native.setRequiresGrad(this.handle, value);
    return this;
  }
  /** The accumulated gradient: a new handle to the same memory. */
  get grad(): Tensor | undefined {
    const handle = native.gradOf(this.handle);
    return handle === 0 ? undefined : new Tensor(handle);
  }
  set grad(value: Tensor | undefined) {
    native.setGradOf(this.handle, value?.handle ?? 0);
  }
  /** Adds d self / d leaf to the `.grad` of every leaf; `gradient` is needed unless self has one element. */
  backward(gradient?: Tensor, retainGraph = false): void {
    native.backward([this.handle], gradient ? [gradient.handle] : null, retainGraph);
  }
  detach(): Tensor {
    return one(ids.detach, this.handle);
  }

  // ---- products

  matmul(other: Tensor): Tensor {
    return one(ids.matmul, this.handle, other.handle);
  }
  mm(other: Tensor): Tensor {
    return one(ids.mm, this.handle, other.handle);
  }
  bmm(other: Tensor): Tensor {
    return one(ids.bmm, this.handle, other.handle);
  }
  /** beta * self + alpha * a @ b */
  addmm(a: Tensor, b: Tensor, beta = 1, alpha = 1): Tensor {
    return one(ids.addmm, this.handle, a.handle, b.handle, beta, alpha);
  }
  /** beta * self + alpha * a @ b, batched */
  baddbmm(a: Tensor, b: Tensor, beta = 1, alpha = 1): Tensor {
    return one(ids.baddbmm, this.handle, a.handle, b.handle, beta, alpha);
  }

  // ---- shape

  t(): Tensor {
    return one(ids.t, this.handle);
  }
  transpose(a: number, b: number): Tensor {
    return one(ids.transpose, this.handle, a, b);
  }
  permute(...dims: readonly number[]): Tensor {
    return one(ids.permute, this.handle, dims);
  }
  view(...shape: readonly number[]): Tensor {
    return one(ids.view, this.handle, shape);
  }
  /** The same bytes read as another dtype. */
  viewAs(dtype: DType): Tensor {
    return one(ids.viewDtype, this.handle, dtypeCode(dtype));
  }
  reshape(...shape: readonly number[]): Tensor {
    return one(ids.reshape, this.handle, shape);
  }
  unsqueeze(dim: number): Tensor {
    return one(ids.unsqueeze, this.handle, dim);
  }
  squeeze(dim: number): Tensor {
    return one(ids.squeeze, this.handle, dim);
  }
  /** -1 keeps a size. */
  expand(...shape: readonly number[]): Tensor {
    return one(ids.expand, this.handle, shape);
  }
  contiguous(): Tensor {
    return one(ids.contiguous, this.handle);
  }
  repeatInterleave(repeats: number, dim: number): Tensor {
    return one(ids.repeatInterleave, this.handle, repeats, dim);
  }
  flip(...dims: readonly number[]): Tensor {
    return one(ids.flip, this.handle, dims);
  }
  triu(diagonal = 0): Tensor {
    return one(ids.triu, this.handle, diagonal);
  }

  // ---- indexing

  narrow(dim: number, start: number, length: number): Tensor {
    return one(ids.narrow, this.handle, dim, start, length);
  }
  select(dim: number, index: number): Tensor {
    return one(ids.select, this.handle, dim, index);
  }
  slice(dim: number, start: number, end?: number, step = 1): Tensor {
    return one(ids.slice, this.handle, dim, start, end ?? null, step);
  }
  /** `x[i, :, j]` is `x.index([i, null, j])`. */
  index(indices: readonly (Tensor | null)[]): Tensor {
    const handles = indices.map((index) => index?.handle ?? null);
    return one(ids.index, this.handle, handles);
  }
  indexSelect(dim: number, index: Tensor): Tensor {
    return one(ids.indexSelect, this.handle, dim, index.handle);
  }
  gather(dim: number, index: Tensor): Tensor {
    return one(ids.gather, this.handle, dim, index.handle);
  }
  split(sizes: readonly number[], dim = 0): Tensor[] {
    return many(ids.split, this.handle, sizes, dim);
  }
  unbind(dim = 0): Tensor[] {
    return many(ids.unbind, this.handle, dim);
  }
  searchsorted(values: Tensor, right = false): Tensor {
    return one(ids.searchsorted, this.handle, values.handle, false, right);
  }

  // ---- reductions

  sum(dim?: number | readonly number[], keepdim = false): Tensor {
    return dim === undefined ? one(ids.sum, this.handle) : one(ids.sumDim, this.handle, [dim].flat(), keepdim);
  }
  mean(dim?: number | readonly number[], keepdim = false): Tensor {
    return dim === undefined ? one(ids.mean, this.handle) : one(ids.meanDim, this.handle, [dim].flat(), keepdim);
  }
  max(): Tensor {
    return one(ids.max, this.handle);
  }
  min(): Tensor {
    return one(ids.min, this.handle);
  }
  /** [values, indices] */
  maxAlong(dim: number, keepdim = false): [Tensor, Tensor] {
    return many(ids.maxDim, this.handle, dim, keepdim) as [Tensor, Tensor];
  }
  argmax(dim: number, keepdim = false): Tensor {
    return one(ids.argmax, this.handle, dim, keepdim);
  }
  any(): Tensor {
    return one(ids.any, this.handle);
  }
  all(): Tensor {
    return one(ids.all, this.handle);
  }
  /** The 2-norm of all elements. */
  norm(): Tensor {
    return one(ids.norm, this.handle);
  }
  logsumexp(dim: number, keepdim = false): Tensor {
    return one(ids.logsumexp, this.handle, [dim], keepdim);
  }
  cumsum(dim: number): Tensor {
    return one(ids.cumsum, this.handle, dim);
  }
  /** [values, indices], largest first. */
  topk(k: number, dim = -1): [Tensor, Tensor] {
    return many(ids.topk, this.handle, k, dim) as [Tensor, Tensor];
  }
  /** [values, indices] */
  sort(dim = -1, descending = false): [Tensor, Tensor] {
    return many(ids.sort, this.handle, dim, descending) as [Tensor, Tensor];
  }

  // ---- pointwise with options

  softmax(dim: number): Tensor {
    return one(ids.softmax, this.handle, dim);
  }
  logSoftmax(dim: number): Tensor {
    return one(ids.logSoftmax, this.handle, dim);
  }
  gelu(approximate: 'none' | 'tanh' = 'none'): Tensor {
    return one(ids.gelu, this.handle, approximate);
  }
  pow(exponent: number): Tensor {
    return one(ids.pow, this.handle, exponent);
  }
  clamp(min?: number, max?: number): Tensor {
    return one(ids.clamp, this.handle, min ?? null, max ?? null);
  }
  isfinite(): Tensor {
    return one(ids.isfinite, this.handle);
  }
  /** self where the condition holds, other elsewhere. */
  where(condition: Tensor, other: Tensor): Tensor {
    return one(ids.where, condition.handle, this.handle, other.handle);
  }
  maskedFill(mask: Tensor, value: number): Tensor {
    return one(ids.maskedFill, this.handle, mask.handle, value);
  }
  logicalAnd(other: Tensor): Tensor {
    return one(ids.logicalAnd, this.handle, other.handle);
  }
  clone(): Tensor {
    return one(ids.clone, this.handle);
  }
  /** A tensor of this dtype or on this device; a new handle to self where nothing changes. */
  to(target: DType | { device: Device; dtype?: DType }): Tensor {
    if (typeof target === 'string') return one(ids.toDtype, this.handle, dtypeCode(target));
    // What goes to a GPU is not waited for: its driver has taken the numbers when this returns.
    const isSent = target.device !== 'cpu';
    return one(ids.toDevice, this.handle, target.device, dtypeCode(target.dtype ?? this.dtype), isSent);
  }

  /**
   * Moves the numbers of a tensor without a graph to another device: whoever holds it finds them there. Copies are in the
   * order of the device's work, and on the host in memory that a GPU reaches by itself; on the host they may be read when
   * that work is done.
   */
  move_(device: Device): this {
    if (this.device === device) return this;
    const ofGpu = [this.device, device].some((each) => each.startsWith('cuda'));
    const pinned = ofGpu && device === 'cpu';
    const moved = native.call(ids.toCopy, this.handle, null, null, device, pinned, ofGpu) as Handle;
    native.dispose(this.handle);
    this.handle = moved;
    return this;
  }

  /** self with the rows of `source` at `index` along `dim`. */
  indexAdd(dim: number, index: Tensor, source: Tensor): Tensor {
    return one(ids.indexAdd, this.handle, dim, index.handle, source.handle);
  }
  indexCopy(dim: number, index: Tensor, source: Tensor): Tensor {
    return one(ids.indexCopy, this.handle, dim, index.handle, source.handle);
  }
  /** Rotates the elements of `dim` by `shift` places. */
  roll(shift: number, dim: number): Tensor {
    return one(ids.roll, this.handle, [shift], [dim]);
  }
  /** self + value * a * b */
  addcmul(a: Tensor, b: Tensor, value = 1): Tensor {
    return one(ids.addcmul, this.handle, a.handle, b.handle, value);
  }

  // ---- in place

  scatterAdd_(dim: number, index: Tensor, source: Tensor): this {
    return this.#inPlace(ids.scatterAdd_, dim, index.handle, source.handle);
  }

  copy_(source: Tensor): this {
    return this.#inPlace(ids.copy_, source.handle);
  }
  zero_(): this {
    return this.#inPlace(ids.zero_);
  }
  fill_(value: number): this {
    return this.#inPlace(ids.fill_, value);
  }
  normal_(mean = 0, std = 1): this {
    return this.#inPlace(ids.normal_, mean, std);
  }
  uniform_(from = 0, to = 1): this {
    return this.#inPlace(ids.uniform_, from, to);
  }
  /** self += value * a * b */
  addcmul_(a: Tensor, b: Tensor, value = 1): this {
    return this.#inPlace(ids.addcmul_, a.handle, b.handle, value);
  }
  indexCopy_(dim: number, index: Tensor, source: Tensor): this {
    return this.#inPlace(ids.indexCopy_, dim, index.handle, source.handle);
  }
  indexAdd_(dim: number, index: Tensor, source: Tensor): this {
    return this.#inPlace(ids.indexAdd_, dim, index.handle, source.handle);
  }

  #inPlace(operator: number, ...values: readonly NativeValue[]): this {
    // The result is a second handle to self.
    native.dispose(native.call(operator, this.handle, ...values) as Handle);
    return this;
  }
}

function install(name: string, method: (this: Tensor, ...values: never[]) => Tensor): void {
  Object.defineProperty(Tensor.prototype, name, {
    value: method,
    configurable: true,
  });
}

for (const [name, operator] of Object.entries(unary)) {
  install(name, function () {
    return one(operator, this.handle);
  });
}
for (const [name, { tensor, scalar }] of [...Object.entries(binary), ...Object.entries(compare)]) {
  install(name, function (other: Tensor | number) {
    return typeof other === 'number' ? one(scalar, this.handle, other) : one(tensor, this.handle, other.handle);
  });
}
for (const [name, { tensor, scalar }] of Object.entries(binaryInPlace)) {
  install(name, function (other: Tensor | number, alpha?: number) {
    const value = typeof other === 'number' ? other : other.handle;
    const operator = typeof other === 'number' ? scalar : tensor;
    const handle =
      alpha === undefined
        ? native.call(operator, this.handle, value)
        : native.call(operator, this.handle, value, alpha);
    native.dispose(handle as Handle);
    return this;
  });
}
