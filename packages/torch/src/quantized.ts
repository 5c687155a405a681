/**
 * Numbers in 8 bits, as bitsandbytes has them (Dettmers et al., arXiv 2110.02861): blocks of 256 share their largest
 * magnitude, and each number is the nearest of 256 values between -1 and 1 (or 0 and 1) that are dense around zero.
 */
import { tensor } from './factories.ts';
import { op } from './native.ts';
import { one, type Device, type Tensor } from './tensor.ts';

const ids = { pad: op('constant_pad_nd'), amax: op('amax'), bucketize: op('bucketize.Tensor') };

/** Numbers that share a magnitude. */
export const block = 256;

/**
 * The dynamic map (`create_dynamic_map`): as the exponent falls from 0 to -6, fewer bits are left for the fraction.
 * @returns 256 values, ascending
 */
export function dynamicMap(signed: boolean): Float32Array {
  const f = Math.fround;
  const values = [0, 1];
  for (let i = 0; i < 7; i++) {
    const count = 2 ** (i + (signed ? 0 : 1));
    const step = f(f(1 - f(0.1)) / count);
    // libtorch's linspace counts from both ends.
    const at = (k: number): number => (k <= count / 2 ? f(f(0.1) + f(step * k)) : f(1 - f(step * (count - k))));
    for (let k = 0; k < count; k++) {
      const value = f(10 ** (i - 6)) * f(f(at(k) + at(k + 1)) / 2);
      values.push(...(signed ? [value, -value] : [value]));
    }
  }
  return Float32Array.from(values).sort();
}

/** Values of a map, and what lies between them, on a device. */
export interface CodeBook {
  readonly values: Tensor;
  readonly bounds: Tensor;
}

export function codeBook(values: Float32Array, device: Device): CodeBook {
  const bounds = Float32Array.from(values.subarray(1), (value, i) => Math.fround(value + values[i]!) / 2);
  return { values: tensor(values, { device }), bounds: tensor(bounds, { device }) };
}

export interface Quantized {
  /** uint8, like the numbers. */
  readonly codes: Tensor;
  /** float32, one per block. */
  readonly magnitudes: Tensor;
}

/** [blocks, 256] of x [N], the last filled up with zeros. */
function inBlocks(x: Tensor): Tensor {
  const missing = (block - (x.numel % block)) % block;
  return (missing === 0 ? x : one(ids.pad, x.handle, [0, missing], 0)).view(-1, block);
}

/** Of float32 numbers x [N]. */
export function quantize(x: Tensor, { bounds }: CodeBook): Quantized {
  const blocks = inBlocks(x);
  const magnitudes = one(ids.amax, blocks.abs().handle, [1], false);
  const inverse = magnitudes.clamp(1e-38).pow(-1).unsqueeze(1);
  const scaled = blocks.mul(inverse).clamp(-1, 1).view(-1).narrow(0, 0, x.numel);
  return { codes: one(ids.bucketize, scaled.handle, bounds.handle, true).to('uint8'), magnitudes };
}

/** The numbers [N] in float32. */
export function dequantize({ codes, magnitudes }: Quantized, { values }: CodeBook): Tensor {
  const numbers = inBlocks(values.indexSelect(0, codes.to('int32')));
  return numbers.mul(magnitudes.unsqueeze(1)).view(-1).narrow(0, 0, codes.numel);
}
