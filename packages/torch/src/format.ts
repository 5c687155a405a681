/** A tensor as a person reads it: few numbers, nested brackets, dtype and shape at the end. */
import { scope } from './scope.ts';
import type { Tensor } from './tensor.ts';

/** A dimension of more than 2 * edge + 1 is shown by its first and last `edge` elements. */
const edge = 3;

export function formatTensor(tensor: Tensor): string {
  if (tensor.handle === 0) return 'tensor(disposed)';
  const body = scope(() => nested(tensor, 'tensor('.length));
  return `tensor(${body}, ${tensor.dtype}[${tensor.shape.join(', ')}])`;
}

function nested(tensor: Tensor, indent: number): string {
  const [size] = tensor.shape;
  if (size === undefined) return numbers(tensor).join('');
  const flat = tensor.shape.length === 1;
  const range = (start: number, length: number): string[] =>
    flat
      ? numbers(tensor.narrow(0, start, length))
      : Array.from({ length }, (_, i) => nested(tensor.select(0, start + i), indent + 1));
  const parts = size <= 2 * edge + 1 ? range(0, size) : [...range(0, edge), '...', ...range(size - edge, edge)];
  return `[${parts.join(flat ? ', ' : `,\n${' '.repeat(indent + 1)}`)}]`;
}

function numbers(tensor: Tensor): string[] {
  if (tensor.dtype === 'int64') return Array.from(tensor.toTypedArray(), String);
  const isBool = tensor.dtype === 'bool';
  return tensor.toArray().map((value) => {
    if (isBool) return String(value !== 0);
    return String(Number.isInteger(value) ? value : Number(value.toPrecision(5)));
  });
}
