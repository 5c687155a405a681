/**
 * Weights in four bits, as bitsandbytes has them (NF4, Dettmers et al., arXiv 2305.14314): blocks of 64 share their
 * largest magnitude, and each number is the nearest of 16 quantiles of the normal distribution.
 */
import { dtypeCode, type FloatDType } from './dtype.ts';
import { native, op, type Handle } from './native.ts';
import { keep, scope } from './scope.ts';
import { one, Tensor, type Device } from './tensor.ts';

const ids = {
  quantize: op('visurf::nf4_quantize'),
  dequantize: op('visurf::nf4_dequantize'),
  linear: op('visurf::nf4_linear'),
  table: op('visurf::nf4_table'),
};

/** A matrix [out, in]; lives until it is disposed, whatever scopes are open. */
export class Nf4 {
  readonly shape: readonly number[];
  /** uint8 [ceil(N / 2)]: two codes in a byte, the first in the upper half. */
  readonly packed: Tensor;
  /** float32 [ceil(N / 64)]: the largest magnitude of every block. */
  readonly magnitudes: Tensor;
  /** float32 [256, 2]: the numbers of every byte. */
  readonly #table: Tensor;

  /** @param weight of which codes are found on the CPU, wherever it lies; the same on all devices */
  constructor(weight: Tensor, device: Device = weight.device) {
    const place = (each: Handle): Tensor => keep(new Tensor(each).to({ device }));
    this.shape = weight.shape;
    [this.packed, this.magnitudes, this.#table] = scope(() => {
      const [packed, magnitudes] = native.call(ids.quantize, weight.to({ device: 'cpu' }).handle) as [Handle, Handle];
      return [place(packed), place(magnitudes), place(native.call(ids.table) as Handle)];
    });
  }

  /**
   * x [..., in] @ weight^T + bias, in the dtype of x. The weights are made for the product, and again for the gradient of
   * x; they and the bias have none.
   */
  linear(x: Tensor, bias: Tensor | undefined): Tensor {
    const { packed, magnitudes, shape } = this;
    const own = [packed.handle, magnitudes.handle, this.#table.handle];
    return one(ids.linear, x.handle, ...own, shape[0], bias?.handle ?? null);
  }

  /** The numbers that stand for the weights. */
  weight(dtype: FloatDType): Tensor {
    const { packed, magnitudes, shape } = this;
    return one(ids.dequantize, packed.handle, magnitudes.handle, this.#table.handle, [...shape], dtypeCode(dtype));
  }

  dispose(): void {
    for (const each of [this.packed, this.magnitudes, this.#table]) each.dispose();
  }
}
