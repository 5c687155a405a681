/**
 * A linear layer whose product runs in the policy's precision: master weights stay as they are, products in bfloat16
 * cast the weight, with a graph while training and once for many passes otherwise.
 */
import { cat, functional, isGradEnabled, keep, nn, noGrad, scope, type Tensor } from '@visurf/torch';

import type { Adapter } from './adapter.ts';

export type Precision = 'float32' | 'bfloat16';

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
    const input = this.#weight.dtype === 'bfloat16' ? x.to('bfloat16') : x;
    return (this.#packed ? functional.linearPacked : functional.linear)(input, this.#weight, this.#bias);
  }

  dispose(): void {
    this.#weight.dispose();
    this.#bias?.dispose();
  }
}

const inPrecision = (x: Tensor, precision: Precision): Tensor => (precision === 'float32' ? x : x.to(precision));

export class Projection extends nn.Linear {
  /** What LoRA adds to the layer. */
  lora: Adapter | undefined;
  _precision: Precision = 'float32';
  /** Whether passes without a graph pack the weights: for many passes with few rows. */
  _pack = false;
  /** The layer's own weights, and those joined with others', for passes without a graph. */
  _fixed: FixedProduct | undefined;
  _joint: FixedProduct | undefined;

  override forward(x: Tensor): Tensor {
    const out = this.#forward(x);
    if (!this.lora?._enabled) return out;
    return out.add(this.lora.forward(x, this._precision === 'float32' ? undefined : this._precision));
  }

  #forward(x: Tensor): Tensor {
    if (this.#trains()) return this.#multiply(x, this);
    if (this._precision === 'float32' && !this._pack) return functional.linear(x, this.weight, this.bias);
    return (this._fixed ??= new FixedProduct(this, this._precision, this._pack)).multiply(x);
  }

  /** The product with wider weights that `join` makes of this layer and others. */
  forwardJoint(x: Tensor, join: () => Weights): Tensor {
    if (this.#trains()) return this.#multiply(x, join());
    this._joint ??= scope(() => noGrad(() => new FixedProduct(join(), this._precision, this._pack)));
    return this._joint.multiply(x);
  }

  /** To be called whenever the weights changed, and when generation ends. */
  forgetCasts(): void {
    this.lora?.forgetCasts();
    this._fixed?.dispose();
    this._joint?.dispose();
    this._fixed = this._joint = undefined;
  }

  #trains(): boolean {
    return isGradEnabled() && this.weight.requiresGrad;
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
  if (elements > joinBelow || projections.some(({ lora }) => lora)) return undefined;
  return projections[0]!.forwardJoint(x, () => {
    const biases = projections.flatMap(({ bias }) => bias ?? []);
    return {
      weight: cat(projections.map(({ weight }) => weight)),
      bias: biases.length > 0 ? cat(biases) : undefined,
    };
  });
}

/** One result per projection of the same input, [..., out]; views of a joint one where they were computed together. */
export function projectTogether(projections: readonly Projection[], x: Tensor): Tensor[] {
  const sizes = projections.map(({ weight }) => weight.size(0));
  return jointProduct(projections, x)?.split(sizes, -1) ?? projections.map((each) => each.forward(x));
}

/** silu(gate(x)) * up(x) */
export function projectGated(gate: Projection, up: Projection, x: Tensor): Tensor {
  const joint = jointProduct([gate, up], x);
  return joint ? functional.swiglu(joint) : functional.swiglu(gate.forward(x), up.forward(x));
}
