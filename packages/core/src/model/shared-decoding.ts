/**
 * Decoding with flash attention: the responses of a prompt ask for its keys together, as one sequence of queries, each
 * asks for its own, and the two are joined by the logarithms of their sums (exact, and without gradients that alone needs
 * nothing more: FlashInfer's cascade, arXiv 2501.01005). What lies where is known to the device alone. Caches are in
 * bfloat16, all heads of a token together: [B, 1, L, KV d] and [B, 1, K, capacity, KV d], keys like values.
 *
 * Legend: B prompts, K responses each, R = B K rows, KV key heads, g query heads per key head, d head size.
 */
import { arange, callOp, empty, full, zeros, type DType, type functional, type Tensor } from '@visurf/torch';

import { cacheCapacity } from '../budgets.ts';
import { attendAtPlace, type NextPlace } from './attention.ts';
import { rotate, type Rotation } from './rope.ts';

/** Sequences of equally many queries, which see their first `used` keys, all of them. */
export interface Asked {
  /** int32 [sequences + 1]. */
  readonly queryEnds: Tensor;
  readonly keyEnds: Tensor;
  /** int32 [sequences] */
  readonly used: Tensor;
  readonly queries: number;
  readonly keys: number;
}

/** @returns the answers [queries, heads, d], and the natural logarithms of the sums of their softmax, [heads, queries] */
export type AttendAsked = (qkv: readonly [Tensor, Tensor, Tensor], asked: Asked) => readonly [Tensor, Tensor];

export const flashAsked: AttendAsked = ([q, k, v], { queryEnds, keyEnds, used, queries, keys }) => {
  const optional = [null, null, null, used];
  const [out, sums] = callOp(
    '_flash_attention_forward',
    ...[q, k, v, queryEnds, keyEnds, queries, keys, 0, false, false],
    ...optional,
  ) as Tensor[];
  return [out!, sums!];
};

/** What stays from token to token: what prompts are asked, and responses but for how far they reach. */
export interface SharedPlan {
  readonly prompts: Asked;
  readonly responses: Omit<Asked, 'used'>;
}

/** Where the new tokens go, and what their sequences see. */
export interface SharedPlace {
  /** int64 [1]: the number of tokens of every response that are there. */
  readonly index: Tensor;
  readonly prompts: Asked;
  readonly responses: Asked;
}

const steps = (count: number, size: number): Tensor => arange(0, (count + 1) * size, size, { dtype: 'int32' });

/**
 * @param padding added to the scores of the prefix of L tokens, [B, 1, 1, 1, 1, L]
 * @param queries of a token: query heads per key head
 */
export function planShared(
  padding: Tensor | undefined,
  { values: prefix }: functional.DecodingCache,
  { values: own }: functional.DecodingCache,
  queries: number,
): SharedPlan {
  const [batch, , responses, capacity] = own.shape as [number, number, number, number];
  const length = prefix.size(2);
  const lengths = padding?.eq(0).sum(-1).view(-1) ?? full([batch], length, { dtype: 'int32' });
  const ofPrompts = { queries: responses * queries, keys: length };
  const ofResponses = { queries, keys: capacity };
  return {
    prompts: {
      ...ofPrompts,
      queryEnds: steps(batch, ofPrompts.queries),
      keyEnds: steps(batch, length),
      used: lengths.to('int32').expand(batch).contiguous(),
    },
    responses: {
      ...ofResponses,
      queryEnds: steps(batch * responses, queries),
      keyEnds: steps(batch * responses, capacity),
    },
  };
}

export function sharedPlaceAt(index: Tensor, { prompts, responses }: SharedPlan): SharedPlace {
  const rows = responses.queryEnds.numel - 1;
  const used = index.add(1).to('int32').expand(rows).contiguous();
  return { index, prompts, responses: { ...responses, used } };
}

/** A prompt's keys or values [B, KV, L, d] as they are kept. */
export function keptHeads(x: Tensor, dtype: DType = 'bfloat16'): Tensor {
  const [batch, , length] = x.shape as [number, number, number];
  return x.transpose(1, 2).reshape(batch, 1, length, -1).to(dtype).contiguous();
}

/** Keys and values of prompts as decoding has them, [B, KV, d, L] and [B, KV, L, d], in the order of `attendShared`. */
export const sharedKeys = ({ keys, values }: functional.DecodingCache): functional.DecodingCache => ({
  keys: keptHeads(keys.transpose(-1, -2)),
  values: keptHeads(values),
});

/** Room for keys and values of K responses of so many tokens behind each prompt, in the same order. */
export function forkShared(
  { keys }: functional.DecodingCache,
  responses: number,
  tokens: number,
): functional.DecodingCache {
  const [batch, , , width] = keys.shape as [number, number, number, number];
  const { dtype, device } = keys;
  // What is not filled yet is masked, and must be numbers.
  const blank = (): Tensor => zeros([batch, 1, responses, cacheCapacity(tokens), width], { dtype, device });
  return { keys: blank(), values: blank() };
}

/**
 * Attention of one new token of K responses per prompt, which is added to `own`.
 * @param qkv of all heads before rotation, [B, K, H + 2 KV, d]
 * @returns [B, K, H * d]
 */
export function attendShared(
  qkv: Tensor,
  kvHeads: number,
  rotation: Rotation,
  prefix: functional.DecodingCache,
  own: functional.DecodingCache,
  { index, prompts, responses }: SharedPlace,
  attend: AttendAsked = flashAsked,
): Tensor {
  const [batch, perPrompt, all, size] = qkv.shape as [number, number, number, number];
  const heads = all - 2 * kvHeads;
  const [rows, groups, { dtype }] = [batch * perPrompt, heads / kvHeads, own.keys];
  const [q, k] = rotate(qkv.narrow(2, 0, heads + kvHeads), rotation).split([heads, kvHeads], 2) as [Tensor, Tensor];
  const added = (cache: Tensor, x: Tensor): unknown =>
    callOp('index_copy_', cache, 3, index, x.to(dtype).reshape(batch, 1, perPrompt, 1, kvHeads * size));
  added(own.keys, k);
  added(own.values, qkv.narrow(2, heads + kvHeads, kvHeads));

  // The query heads of a key head stand one after the other, as further queries.
  const asking = empty([rows, groups, kvHeads, size], { dtype }).copy_(
    q.reshape(rows, kvHeads, groups, size).transpose(1, 2),
  );
  const queries = asking.view(rows * groups, kvHeads, size);
  const flat = ({ keys, values }: functional.DecodingCache): [Tensor, Tensor] => [
    keys.view(-1, kvHeads, size),
    values.view(-1, kvHeads, size),
  ];
  const [onPrompt, promptSums] = attend([queries, ...flat(prefix)], prompts);
  const [onOwn, ownSums] = attend([queries, ...flat(own)], responses);
  const share = promptSums.sub(ownSums).sigmoid().t().unsqueeze(-1);
  const joined = onOwn.addcmul(onPrompt.sub(onOwn), share).view(rows, groups, kvHeads, size).transpose(1, 2);
  return empty([rows, kvHeads, groups, size], { dtype })
    .copy_(joined)
    .view(batch, perPrompt, heads * size);
}

/** `attendShared` or `attendAtPlace`, as the caches are kept; qkv [B, K, H + 2 KV, d] before rotation. */
export const attendPlaced = (
  qkv: Tensor,
  kvHeads: number,
  rotation: Rotation,
  prefix: functional.DecodingCache,
  own: functional.DecodingCache,
  at: NextPlace | SharedPlace,
): Tensor =>
  'prompts' in at
    ? attendShared(qkv, kvHeads, rotation, prefix, own, at)
    : attendAtPlace(qkv, rotation, prefix, own, at);
