/**
 * A linear layer whose product runs in the policy's precision: master weights stay as they are, products in bfloat16
 * cast the weight, with a graph while training and from a cache otherwise.
 */
import { functional, isGradEnabled, keep, nn, noGrad, type Tensor } from '@visurf/torch';

import type { Adapter } from './adapter.ts';

export type Precision = 'float32' | 'bfloat16';

interface Casts {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
}

export class Projection extends nn.Linear {
  /** What LoRA adds to the layer. */
  lora: Adapter | undefined;
  _precision: Precision = 'float32';
  _casts: Casts | undefined;

  override forward(x: Tensor): Tensor {
    const out = this.#forward(x);
    if (!this.lora?._enabled) return out;
    return out.add(this.lora.forward(x, this._precision === 'float32' ? undefined : this._precision));
  }

  #forward(x: Tensor): Tensor {
    if (this._precision === 'float32') return functional.linear(x, this.weight, this.bias);
    const { weight, bias } = isGradEnabled() && this.weight.requiresGrad ? this.#cast() : this.#cached();
    return functional.linear(x.to('bfloat16'), weight, bias);
  }

  /** To be called whenever the weights changed, and when generation ends. */
  forgetCasts(): void {
    this.lora?.forgetCasts();
    this._casts?.weight.dispose();
    this._casts?.bias?.dispose();
    this._casts = undefined;
  }

  #cast(): Casts {
    return {
      weight: this.weight.to('bfloat16'),
      bias: this.bias?.to('bfloat16'),
    };
  }

  #cached(): Casts {
    this._casts ??= noGrad(() => {
      const { weight, bias } = this.#cast();
      return { weight: keep(weight), bias: bias && keep(bias) };
    });
    return this._casts;
  }
}
