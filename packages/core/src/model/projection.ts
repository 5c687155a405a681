/**
 * A linear layer whose product runs in the policy's precision: master weights stay as they are, products in bfloat16
 * cast the weight, with a graph while training and once for many passes otherwise.
 */
import { callOp, cat, functional, isGradEnabled, keep, nn, noGrad, scope, type Nf4, type Tensor } from '@visurf/torch';

import type { Adapter } from './adapter.ts';

/** `float64` for tests of equality: weights are in it, and products take them as they are, as in `float32`. */
export type Precision = 'float32' | 'bfloat16' | 'float64';

/** Of what layers hand to each other; `float32` stands for the weights' own dtype. */
export type Stream = 'float32' | 'bfloat16';

interface Weights {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
}

/** A product with weights that stay as they are for several passes without a graph: cast once, packed where asked for. */
export class FixedProduct {
  readonly #weight: Tensor;
  readonly #bias: Tensor | undefined;
  readonly #packed: boolean;

  constructor({ weight, bias }: Weights, precision: Precision, pack: boolean) {
    const [ready, ownBias, packed] = noGrad(() =>
      scope(() => {
        const matrix = inPrecision(weight, precision);
        const packed = pack ? functional.packWeight(matrix) : undefined;
        return [keep(packed ?? matrix.detach()), bias && keep(inPrecision(bias, precision).detach()), Boolean(packed)];
      }),
    );
    this.#weight = ready;
    this.#bias = ownBias;
    this.#packed = packed;
  }

  /** x [..., in] to [..., out], in the precision of the weights. */
  multiply(x: Tensor): Tensor {
    const input = this.#weight.dtype === 'bfloat16' ? inHalf(x) : x;
    return (this.#packed ? functional.linearPacked : functional.linear)(input, this.#weight, this.#bias);
  }

  dispose(): void {
    this.#weight.dispose();
    this.#bias?.dispose();
  }
}

const fixed = (weights: () => Weights, { _precision, _pack }: Projection): FixedProduct =>
  scope(() => noGrad(() => new FixedProduct(weights(), _precision, _pack)));

/** In rows that lie one behind the other: of others libtorch adds the bias to a product that is rounded already. */
const inHalf = (x: Tensor): Tensor => x.to('bfloat16').contiguous();

const inPrecision = (x: Tensor, precision: Precision): Tensor => (precision === 'bfloat16' ? inHalf(x) : x);

export class Projection extends nn.Linear {
  /** What LoRA adds to the layer. */
  lora: Adapter | undefined;
  /** The weights in four bits; `weight` then tells their shape alone, and its numbers are none. */
  _nf4: Nf4 | undefined;
  /** Whether passes without a graph keep what four bits stand for: for many passes, where there is room. */
  _unpacks = false;
  _precision: Precision = 'float32';
  /** Whether passes without a graph pack the weights: for many passes with few rows. */
  _pack = false;
  /** The layer's own weights, and those joined with others', for passes without a graph. */
  _fixed: FixedProduct | undefined;
  _joint: FixedProduct | undefined;
  /** Likewise adapters, of so many layers of which this is the first, and those whose outputs are joined. */
  readonly _adapters = new Map<number, JointAdapters>();
  _joinedAdapters: JointAdapters | undefined;

  override forward(x: Tensor): Tensor {
    const [adapted] = adaptedTogether([this], x) ?? [];
    if (adapted) return adapted;
    const out = this._base(x);
    if (!this.lora?._enabled) return out;
    return out.add(this.lora.forward(x, this._precision === 'bfloat16' ? this._precision : undefined));
  }

  /** Without what LoRA adds. */
  _base(x: Tensor): Tensor {
    if (this._nf4 && this._isPacked) return this.#multiplyNf4(x, this._nf4);
    if (this.#trains()) return this.#multiply(x, this);
    if (!this._nf4 && this._precision !== 'bfloat16' && !this._pack)
      return functional.linear(x, this.weight, this.bias);
    return (this._fixed ??= fixed(() => this._weights, this)).multiply(x);
  }

  /** Whether products make the weights anew, of four bits. */
  get _isPacked(): boolean {
    return this._nf4 !== undefined && !(this._unpacks && !isGradEnabled());
  }
  /** As numbers, which the scope that is open frees where they had to be made. */
  get _weights(): Weights {
    const weight = this._nf4?.weight(this._precision === 'bfloat16' ? 'bfloat16' : 'float32') ?? this.weight;
    return { weight, bias: this.bias };
  }

  /** The product with wider weights that `join` makes of this layer and others. */
  forwardJoint(x: Tensor, join: () => Weights): Tensor {
    if (this.#trains()) return this.#multiply(x, join());
    return (this._joint ??= fixed(join, this)).multiply(x);
  }

  /** To be called whenever the weights changed, and when generation ends. */
  forgetCasts(): void {
    this.lora?.forgetCasts();
    this._fixed?.dispose();
    this._joint?.dispose();
    this._fixed = this._joint = undefined;
    const adapters = [...this._adapters.values(), ...(this._joinedAdapters ? [this._joinedAdapters] : [])];
    for (const each of adapters) [each.a, ...each.b].forEach((factor) => factor.dispose());
    this._adapters.clear();
    this._joinedAdapters = undefined;
  }

  #trains(): boolean {
    return isGradEnabled() && this.weight.requiresGrad;
  }
  #multiplyNf4(x: Tensor, weights: Nf4): Tensor {
    return weights.linear(inPrecision(x, this._precision), this.bias && inPrecision(this.bias, this._precision));
  }
  #multiply(x: Tensor, { weight, bias }: Weights): Tensor {
    const cast = (each: Tensor): Tensor => inPrecision(each, this._precision);
    return functional.linear(cast(x), cast(weight), bias && cast(bias));
  }
}

/** Every projection by its path, as in the checkpoint (`model.layers.0.self_attn.q_proj`). */
export function projections(model: nn.Module): Map<string, Projection> {
  const found = new Map<string, Projection>();
  const visit = (value: unknown, path: string): void => {
    if (value instanceof Projection) found.set(path, value);
    else if (Array.isArray(value)) value.forEach((each, i) => visit(each, `${path}.${i}`));
    else if (value instanceof nn.Module) {
      for (const [name, each] of Object.entries(value)) {
        if (!name.startsWith('_')) visit(each, path === '' ? name : `${path}.${name}`);
      }
    }
  };
  visit(model, '');
  return found;
}

/** Weights of more elements than this gain nothing from one wider product, and joining them costs a copy. */
const joinBelow = 1 << 20;

/**
 * Projections of the same input, all with or all without bias, as one product: narrow matrices leave the machine half
 * idle.
 * @returns [..., sum of out]; undefined where each is better off alone
 */
function jointProduct(projections: readonly Projection[], x: Tensor): Tensor | undefined {
  const elements = projections.reduce((sum, { weight }) => sum + weight.numel, 0);
  if (elements > joinBelow || projections.some(({ lora, _nf4 }) => lora ?? _nf4)) return undefined;
  return productOfAll(projections, x);
}

const productOfAll = (projections: readonly Projection[], x: Tensor): Tensor =>
  projections[0]!.forwardJoint(x, () => {
    const biases = projections.flatMap(({ bias }) => bias ?? []);
    return {
      weight: cat(projections.map(({ _weights }) => _weights.weight)),
      bias: biases.length > 0 ? cat(biases) : undefined,
    };
  });

/** Of layers with the same input: A of all [sum of ranks, in], and s B^T of each [rank, out], or of all in one. */
interface JointAdapters {
  readonly a: Tensor;
  readonly b: readonly Tensor[];
}

const areAdapted = (projections: readonly Projection[]): boolean => projections.every(({ lora }) => lora?.isPlain);

function jointAdapters(projections: readonly Projection[], joined: boolean): JointAdapters {
  return scope(() => {
    const adapters = projections.flatMap(({ lora }) => lora ?? []);
    const factor = (each: Tensor): Tensor => keep(inPrecision(each, projections[0]!._precision).detach());
    const b = adapters.map(({ B, scale }) => B.mul(scale).t().contiguous());
    return {
      a: factor(cat(adapters.map(({ A }) => A))),
      b: (joined ? [callOp('block_diag', b) as Tensor] : b).map(factor),
    };
  });
}

/** out [..., N], which nobody else reads, with a b added: a [rows, r], b [r, N]. */
function addProductTo(out: Tensor, a: Tensor, b: Tensor): Tensor {
  callOp('addmm_', out.view(a.size(0), -1), a, b);
  return out;
}

/**
 * The layers with what their adapters add, for passes without a graph on a GPU, where a token costs as much as it has
 * kernels: the input is cast once, A of all layers is one product, and s B is added as it is multiplied.
 * @returns undefined where it does not apply
 */
function adaptedTogether(projections: readonly Projection[], x: Tensor): Tensor[] | undefined {
  if (isGradEnabled() || x.device === 'cpu' || !areAdapted(projections)) return undefined;
  const [first] = projections as [Projection];
  const { length } = projections;
  if (!first._adapters.has(length)) first._adapters.set(length, jointAdapters(projections, false));
  const joint = first._adapters.get(length)!;
  const input = inPrecision(x, first._precision);
  const low = functional.linear(input, joint.a);
  const rows = low.numel / low.size(-1);
  const parts = low.view(rows, -1).split(
    joint.b.map((each) => each.size(0)),
    -1,
  );
  return projections.map((each, i) => addProductTo(each._base(input), parts[i]!, joint.b[i]!));
}

/**
 * Projections of the same input for single tokens on a GPU, without a graph: one product with weights that are copied
 * for it, and one with all that adapters add.
 * @returns [..., sum of out]
 */
export function projectJoined(projections: readonly Projection[], x: Tensor): Tensor {
  const isPlain = projections.every(({ lora }) => !lora?._enabled);
  const isPacked = projections.some(({ _isPacked }) => _isPacked);
  if (isPacked || (!isPlain && !areAdapted(projections))) return cat(projectTogether(projections, x), -1);
  const [first] = projections as [Projection];
  const input = inPrecision(x, first._precision);
  const out = productOfAll(projections, input);
  if (isPlain) return out;
  const { a, b } = (first._joinedAdapters ??= jointAdapters(projections, true));
  const low = functional.linear(input, a);
  return addProductTo(out, low.view(low.numel / low.size(-1), -1), b[0]!);
}

/** One result per projection of the same input, [..., out]; views of a joint one where they were computed together. */
export function projectTogether(projections: readonly Projection[], x: Tensor): Tensor[] {
  const sizes = projections.map(({ weight }) => weight.size(0));
  return (
    jointProduct(projections, x)?.split(sizes, -1) ??
    adaptedTogether(projections, x) ??
    projections.map((each) => each.forward(x))
  );
}

/** silu(gate(x)) * up(x) */
export function projectGated(gate: Projection, up: Projection, x: Tensor): Tensor {
  const joint = jointProduct([gate, up], x);
  if (joint) return functional.swiglu(joint);
  const [left, right] = adaptedTogether([gate, up], x) ?? [gate.forward(x), up.forward(x)];
  return functional.swiglu(left!, right);
}
