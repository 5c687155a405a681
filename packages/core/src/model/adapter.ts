/**
 * Low-rank adaptation of one linear layer (LoRA, Hu et al., arXiv 2106.09685, equation 3): h = W x + s B A dropout(x),
 * with s = alpha / r, or alpha / sqrt(r) (rsLoRA, arXiv 2312.03732). Starts as the identity: B is zero.
 */
import {
  functional,
  isGradEnabled,
  keep,
  nn,
  noGrad,
  rand,
  type DType,
  type Generator,
  type Tensor,
} from '@visurf/torch';

import type { AdapterDraws } from './dropout.ts';

export interface AdapterOptions {
  readonly rank: number;
  readonly scale: number;
  /** Share of the input's elements that are dropped while training, in steps of 1 / 65536. */
  readonly dropout: number;
}

/** Of a draw of 16 bits. */
const DRAWS = 0x10000;

interface Factors {
  readonly a: Tensor;
  readonly b: Tensor;
}

export class Adapter extends nn.Module {
  /** [r, in] */
  readonly A: Tensor;
  /** [out, r] */
  readonly B: Tensor;
  readonly scale: number;
  /** Draws of 65536 that drop an element. */
  readonly _dropped: number;
  _enabled = true;
  /** Of the pass that is under way; undefined: nothing is dropped. */
  _draws: AdapterDraws | undefined;
  _casts: Factors | undefined;
  /** What training started from, where that was an adapter; in use while `_atStart`. */
  _start: Factors | undefined;
  _atStart = false;

  /** @param weight [out, in] of the layer; where that is kept in bfloat16, A and B are float32 all the same */
  constructor(weight: Tensor, options: AdapterOptions) {
    super();
    const [outputs = 0, inputs = 0] = weight.shape;
    const place = { dtype: weight.dtype === 'float64' ? weight.dtype : 'float32', device: weight.device } as const;
    this.A = nn.parameter([options.rank, inputs], place);
    this.B = nn.parameter([outputs, options.rank], place);
    this.scale = options.scale;
    this._dropped = options.dropout && Math.min(Math.max(Math.round(options.dropout * DRAWS), 1), DRAWS - 1);
    noGrad(() => [this.A.zero_(), this.B.zero_()]);
  }

  /** A uniform in +-1 / sqrt(in), as PEFT begins; B zero. */
  initialize(generator: Generator): void {
    const bound = 1 / Math.sqrt(this.A.size(1));
    noGrad(() => {
      this.A.copy_(
        rand(this.A.shape, { generator })
          .mul(2 * bound)
          .sub(bound),
      );
      this.B.zero_();
    });
  }

  /** Whether it adds s B A x with the factors that are trained. */
  get isPlain(): boolean {
    return this._enabled && !this._atStart && this._draws === undefined;
  }

  /** s B A dropout(x), in the dtype of the product. */
  forward(x: Tensor, dtype: DType | undefined): Tensor {
    const { a, b } =
      this._atStart && this._start ? this.#startIn(dtype) : dtype ? this.#cast(dtype) : { a: this.A, b: this.B };
    const input = dtype ? x.to(dtype) : x;
    const draws = this._draws;
    if (!draws) return functional.linear(functional.linear(input, a).mul(this.scale), b);
    // Elements that are kept count for those that are not.
    const scale = this.scale / (1 - this._dropped / DRAWS);
    const drawn = { ...draws, keys: draws.keys(input), steps: draws.steps(input) };
    const kept = functional.countedDropout(input, drawn, this._dropped);
    return functional.linear(functional.linear(kept, a).mul(scale), b);
  }

  /** s B A: what merging adds to the weight, [out, in]. */
  delta(): Tensor {
    return this.B.matmul(this.A).mul(this.scale);
  }

  /** Copies of factors that stay as they are while A and B are trained. */
  keepStart(a: Tensor, b: Tensor): void {
    this.forgetStart();
    this._start = { a: keep(a.clone()), b: keep(b.clone()) };
  }

  forgetStart(): void {
    this._start?.a.dispose();
    this._start?.b.dispose();
    this._start = undefined;
  }

  forgetCasts(): void {
    this._casts?.a.dispose();
    this._casts?.b.dispose();
    this._casts = undefined;
  }

  #startIn(dtype: DType | undefined): Factors {
    const { a, b } = this._start!;
    return dtype ? { a: a.to(dtype), b: b.to(dtype) } : { a, b };
  }

  #cast(dtype: DType): Factors {
    const cast = (): Factors => ({ a: this.A.to(dtype), b: this.B.to(dtype) });
    if (isGradEnabled() && this.A.requiresGrad) return cast();
    this._casts ??= noGrad(() => {
      const { a, b } = cast();
      return { a: keep(a), b: keep(b) };
    });
    return this._casts;
  }
}
