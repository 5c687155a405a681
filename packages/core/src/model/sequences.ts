/**
 * Attention of rows that hold several sequences, as libtorch's flash attention has it (`_flash_attention_forward` with
 * lengths of its own for queries and keys, FlashAttention-2, arXiv 2307.08691): scores never exist in memory, and heads
 * of queries share those of keys. Every prompt is a sequence, and so is every response together with its prompt, whose
 * keys are gathered by index. On GPUs, in bfloat16.
 */
import { callOp, tensor, zeros, type Device, type DType, type Tensor } from '@visurf/torch';

import type { Layout } from './attention.ts';
import type { Precision } from './projection.ts';

/** Queries and keys of one sequence after the other. */
export interface Sequences {
  /** int32 [sequences + 1]: where those of each begin, and where the last ends. */
  readonly queryEnds: Tensor;
  readonly keyEnds: Tensor;
  readonly mostQueries: number;
  readonly mostKeys: number;
}

/**
 * @param qkv [queries, H, d] and [keys, KV, d]
 * @param causal the last query of a sequence sees all of its keys, every earlier one a key less
 * @returns [queries, H, d]
 */
export type AttendSequences = (qkv: readonly [Tensor, Tensor, Tensor], sequences: Sequences, causal: boolean) => Tensor;

export const flashAttention: AttendSequences = ([q, k, v], { queryEnds, keyEnds, mostQueries, mostKeys }, causal) => {
  const [out] = callOp(
    '_flash_attention_forward',
    ...[q, k, v].map((each) => each.to('bfloat16')),
    ...[queryEnds, keyEnds, mostQueries, mostKeys, 0, causal, false],
  ) as Tensor[];
  return out!;
};

/** Whether it is there; the head size is what its kernels are made for. */
export const hasFlashAttention = (device: Device, precision: Precision, headSize: number): boolean =>
  device.startsWith('cuda') && precision === 'bfloat16' && headSize % 8 === 0 && headSize <= 256;

/** Sequences of so many rows each, which attend to themselves. */
export function sequencesOf(lengths: readonly number[]): Sequences {
  const ends = endsOf(lengths);
  const most = lengths.reduce((a, b) => Math.max(a, b), 0);
  return { queryEnds: ends, keyEnds: ends, mostQueries: most, mostKeys: most };
}

/** Those of packed rows: their places among the B * Q queries and the B * S keys. */
export interface PackedSequences extends Sequences {
  /** int64; undefined where the queries lie as they are. */
  readonly queries: Tensor | undefined;
  readonly keys: Tensor;
}

/**
 * Attention of packed rows (`packedAttention`), sequence by sequence.
 * @param qkv of the last Q of S places [B, Q, H, d], and of all [B, S, KV, d]
 * @returns [B, Q, H * d], in the dtype of what `attend` returns; zeros at padding of prompts
 */
export function packedSequences(
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  layout: Layout,
  attend: AttendSequences = flashAttention,
): Tensor {
  const [batch, asked, heads, size] = q.shape as [number, number, number, number];
  const sequences = layout.sequences?.get(asked) ?? sequencesIn(layout, asked);
  const { queries, keys } = sequences;
  const flat = (x: Tensor): Tensor => x.reshape(-1, x.size(2), size);
  const chosen = (x: Tensor, places: Tensor | undefined): Tensor => (places ? flat(x).indexSelect(0, places) : flat(x));
  const out = attend([chosen(q, queries), chosen(k, keys), chosen(v, keys)], sequences, true);
  const rows = out.reshape(-1, heads * size);
  const all = queries ? zeros([batch * asked, heads * size], { dtype: rows.dtype }).indexCopy(0, queries, rows) : rows;
  return all.view(batch, asked, -1);
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);

/** The sequences of packed rows, of which the last `asked` places ask. */
export function sequencesIn({ lengths, prefix, responses, tokens }: Layout, asked: number): PackedSequences {
  const row = prefix + responses * tokens;
  const from = row - asked;
  const all = lengths.flatMap((length, b) => {
    const prompt = range(0, length);
    const own = range(0, responses).map((k) => range(prefix + k * tokens, prefix + (k + 1) * tokens));
    const sequences = [
      { queries: prompt.slice(from), keys: prompt },
      ...own.map((response) => ({ queries: response, keys: [...prompt, ...response] })),
    ];
    return sequences
      .filter(({ queries }) => queries.length > 0)
      .map(({ queries, keys }) => ({
        queries: queries.map((at) => b * asked + at - from),
        keys: keys.map((at) => b * row + at),
      }));
  });
  const queries = all.flatMap((each) => each.queries);
  const inPlace = queries.length === lengths.length * asked && queries.every((at, i) => at === i);
  const longest = (counts: readonly number[]): number => counts.reduce((a, b) => Math.max(a, b), 0);
  const [queryCounts, keyCounts] = [all.map((each) => each.queries.length), all.map((each) => each.keys.length)];
  return {
    queries: inPlace ? undefined : indices(queries, 'int64'),
    keys: indices(
      all.flatMap((each) => each.keys),
      'int64',
    ),
    queryEnds: endsOf(queryCounts),
    keyEnds: endsOf(keyCounts),
    mostQueries: longest(queryCounts),
    mostKeys: longest(keyCounts),
  };
}

function endsOf(counts: readonly number[]): Tensor {
  let end = 0;
  return indices([0, ...counts.map((count) => (end += count))], 'int32');
}

const indices = (values: readonly number[], dtype: DType): Tensor => tensor(values, { dtype });
