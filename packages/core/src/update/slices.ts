/**
 * How parameters are shared out: each process has one slice of every parameter, as long as the others' (the last ones may
 * be shorter, or empty). What processes exchange of several parameters is a matrix [processes, n] whose row r has the
 * slices of process r one behind the other, filled up with zeros.
 */
import { optim, type Tensor } from '@visurf/torch';

/** Elements of a process's slice: of those whose moments may be in 8 bits, whole blocks. */
export function sliceLength(numel: number, size: number): number {
  const grain = numel < optim.smallest8bit ? 1 : optim.block8bit;
  return Math.ceil(numel / size / grain) * grain;
}

/** Where a process's slice of `numel` elements lies. */
export function sliceOf(numel: number, length: number, rank: number): { readonly from: number; readonly own: number } {
  const from = Math.min(numel, rank * length);
  return { from, own: Math.min(length, numel - from) };
}

/** Columns of the matrix that hold a tensor's slices. */
export interface Columns {
  readonly at: number;
  readonly length: number;
}

/** The parts of a flat tensor and of the matrix that are the same: whole rows, and what is left in the next. */
function partsOf(flat: Tensor, matrix: Tensor, { at, length }: Columns): [Tensor, Tensor][] {
  const [numel, rows] = [flat.numel, Math.floor(flat.numel / length)];
  const rest = numel - rows * length;
  const parts: [Tensor, Tensor][] = [];
  if (rows > 0) {
    parts.push([flat.narrow(0, 0, rows * length).view(rows, length), matrix.narrow(0, 0, rows).narrow(1, at, length)]);
  }
  if (rest > 0) parts.push([flat.narrow(0, rows * length, rest), matrix.select(0, rows).narrow(0, at, rest)]);
  return parts;
}

/** Writes a tensor into its columns. */
export function fill(matrix: Tensor, columns: Columns, from: Tensor): void {
  for (const [part, place] of partsOf(from.reshape(-1), matrix, columns)) place.copy_(part);
}

/** Reads it out of them. */
export function read(matrix: Tensor, columns: Columns, into: Tensor): void {
  for (const [part, place] of partsOf(into.view(-1), matrix, columns)) part.copy_(place);
}
