/** A tensor as a person reads it: few numbers, nested brackets, dtype and shape at the end. */
import type { Tensor } from './tensor.ts';

const edge = 3;

export function formatTensor(tensor: Tensor): string {
  if (tensor.handle === 0) return 'tensor(disposed)';
  const { shape, dtype } = tensor;
  const values = tensor.toFloat64Array();
  const strides = shape.map((_, dim) => shape.slice(dim + 1).reduce((a, b) => a * b, 1));
  const text = (value: number): string =>
    dtype === 'bool'
      ? String(value !== 0)
      : Number.isInteger(value)
        ? String(value)
        : String(Number(value.toPrecision(5)));

  const body = (dim: number, offset: number): string => {
    if (dim === shape.length) return text(values[offset] ?? NaN);
    const size = shape[dim] ?? 0;
    const stride = strides[dim] ?? 1;
    const shown = size <= 2 * edge + 1 ? [...Array(size).keys()] : [0, 1, 2, -1, size - 3, size - 2, size - 1];
    const parts = shown.map((i) => (i < 0 ? '...' : body(dim + 1, offset + i * stride)));
    const separator = dim === shape.length - 1 ? ', ' : `,\n${' '.repeat('tensor('.length + dim + 1)}`;
    return `[${parts.join(separator)}]`;
  };
  return `tensor(${body(0, 0)}, ${dtype}[${shape.join(', ')}])`;
}
