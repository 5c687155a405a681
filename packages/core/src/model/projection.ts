/**
 * A linear layer whose product runs in the policy's precision: master weights stay as they are, products in bfloat16
 * cast the weight, with a graph while training and from a cache otherwise.
 */
import { cat, functional, isGradEnabled, keep, nn, noGrad, type Tensor } from '@visurf/torch';

import type { Adapter } from './adapter.ts';

export type Precision = 'float32' | 'bfloat16';

interface Weights {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
}

export class Projection extends nn.Linear {
  /** What LoRA adds to the layer. */
  lora: Adapter | undefined;
  _precision: Precision = 'float32';
  /** Weights that were cast, and those that were joined with others, for passes without a graph. */
  _casts: Weights | undefined;
  _joint: Weights | undefined;

  override forward(x: Tensor): Tensor {
    const out = this.#forward(x);
    if (!this.lora?._enabled) return out;
    return out.add(this.lora.forward(x, this._precision === 'float32' ? undefined : this._precision));
  }

  #forward(x: Tensor): Tensor {
    if (this._precision === 'float32') return functional.linear(x, this.weight, this.bias);
    if (this.#trains()) return this.#multiply(x, this.#cast(this));
    return this.#multiply(x, (this._casts ??= kept(() => this.#cast(this))));
  }

  /** The product with wider weights that `join` makes of this layer and others. */
  forwardJoint(x: Tensor, join: () => Weights): Tensor {
    if (this.#trains()) return this.#multiply(x, this.#cast(join()));
    return this.#multiply(x, (this._joint ??= kept(() => this.#cast(join()))));
  }

  /** To be called whenever the weights changed, and when generation ends. */
  forgetCasts(): void {
    this.lora?.forgetCasts();
    for (const weights of [this._casts, this._joint]) {
      weights?.weight.dispose();
      weights?.bias?.dispose();
    }
    this._casts = this._joint = undefined;
  }

  #trains(): boolean {
    return isGradEnabled() && this.weight.requiresGrad;
  }
  #multiply(x: Tensor, { weight, bias }: Weights): Tensor {
    return functional.linear(this._precision === 'float32' ? x : x.to(this._precision), weight, bias);
  }
  #cast({ weight, bias }: Weights): Weights {
    if (this._precision === 'float32') return { weight, bias };
    return { weight: weight.to(this._precision), bias: bias?.to(this._precision) };
  }
}

const kept = (make: () => Weights): Weights =>
  noGrad(() => {
    const { weight, bias } = make();
    return { weight: keep(weight), bias: bias && keep(bias) };
  });

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
 * Projections of the same input, all with or all without bias. Small ones run as one product: narrow matrices leave the
 * machine half idle.
 * @returns one result per projection, [..., out]; views of a joint one where they were computed together
 */
export function projectTogether(projections: readonly Projection[], x: Tensor): Tensor[] {
  const elements = projections.reduce((sum, { weight }) => sum + weight.numel, 0);
  if (elements > joinBelow || projections.some(({ lora }) => lora)) return projections.map((each) => each.forward(x));
  const join = (): Weights => {
    const biases = projections.flatMap(({ bias }) => bias ?? []);
    return {
      weight: cat(projections.map(({ weight }) => weight)),
      bias: biases.length > 0 ? cat(biases) : undefined,
    };
  };
  const sizes = projections.map(({ weight }) => weight.size(0));
  return projections[0]!.forwardJoint(x, join).split(sizes, -1);
}
