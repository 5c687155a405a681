/**
 * Attention of the decoder. Responses attend to their prompt as a shared prefix: its keys and values exist once per
 * prompt, and one softmax runs over prefix and own keys together (Prefix Grouper, arXiv 2506.05433: exact; merging
 * partial attentions by logsumexp would not be, in the gradients of q and k).
 *
 * Legend: B prompts, K responses each, L prompt tokens, T new tokens, S own keys, g query heads per key head, d head size.
 */
import { arange, callOp, cat, full, functional, tensor, zeros, type DType, type Tensor } from '@visurf/torch';

import type { Precision } from './projection.ts';
import { rotate, type Rotation } from './rope.ts';
import { hasFlashAttention, packedSequences, type PackedSequences } from './sequences.ts';

/** How the tokens of a packed row [prompt | responses] lie: L of the prompt, then K responses of T (or none). */
export interface Layout {
  /** Of the prompts, without their padding, [B]. */
  readonly lengths: readonly number[];
  readonly prefix: number;
  readonly responses: number;
  readonly tokens: number;
  /** What attention on a GPU goes by, made once for all layers: `responseMask`, or sequences by the places that ask. */
  readonly mask?: Tensor | undefined;
  readonly sequences?: ReadonlyMap<number, PackedSequences>;
}

type Place = Pick<Tensor, 'dtype' | 'device'>;

/** Keys and values of one layer: [B, KV, L, d]. */
interface KeyValues {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/**
 * Causal attention of prompts within themselves, padded on the right (no mask needed: what comes later is not seen).
 * @param q of the last Q of L places, [B, Q, H, d] @returns [B, Q, H * d]
 */
function prefixAttention(q: Tensor, { keys, values }: KeyValues): Tensor {
  const [batch, asked, heads] = [q.size(0), q.size(1), q.size(2)];
  const [repeats, length] = [heads / keys.size(1), keys.size(2)];
  const repeat = (x: Tensor): Tensor => (repeats === 1 ? x : x.repeatInterleave(repeats, 1));
  const options = asked === length ? { causal: true } : { mask: causalMask(asked, length, q) };
  const out = functional.scaledDotProductAttention(q.transpose(1, 2), repeat(keys), repeat(values), options);
  return out.transpose(1, 2).reshape(batch, asked, -1);
}

/** [Q, L] for the last Q of L places, added to scores like those of q. */
const causalMask = (asked: number, length: number, { dtype, device }: Tensor): Tensor =>
  full([asked, length], -Infinity, { dtype, device }).triu(length - asked + 1);

/**
 * Attention of prompts and their responses in packed rows: a kernel of ours on the CPU, flash attention on GPUs.
 * @param qkv of the last Q of S places [B, Q, H, d], and of all [B, S, KV, d], S = L + K T
 * @param precision of products
 * @returns [B, Q, H * d]
 */
export function packedAttention(
  qkv: readonly [Tensor, Tensor, Tensor],
  layout: Layout,
  precision: Precision = 'float32',
): Tensor {
  const { lengths, responses, tokens } = layout;
  const { device } = qkv[0];
  if (device === 'cpu') return functional.packedAttention(qkv, lengths, responses, tokens);
  if (hasFlashAttention(device, precision, qkv[0].size(3))) return packedSequences(qkv, layout);
  return composedAttention(qkv, layout);
}

/** `packedAttention` from libtorch's operators, for every device. */
export function composedAttention([q, k, v]: readonly [Tensor, Tensor, Tensor], layout: Layout): Tensor {
  const { responses, tokens } = layout;
  if (responses === 0) return prefixAttention(q, { keys: k.transpose(1, 2), values: v.transpose(1, 2) });
  const [batch, asked, heads, size] = q.shape as [number, number, number, number];
  const [kvHeads, own] = [k.size(2), responses * tokens];
  const parts = (each: Tensor): [Tensor, Tensor] => each.split([each.size(1) - own, own], 1) as [Tensor, Tensor];
  const [[prefixQ, ownQ], [prefixK, ownK], [prefixV, ownV]] = [parts(q), parts(k), parts(v)];
  const shared = { keys: prefixK.transpose(1, 2), values: prefixV.transpose(1, 2) };
  // [B, KV, K, T, d]
  const perResponse = (each: Tensor): Tensor =>
    each.reshape(batch, responses, tokens, kvHeads, size).permute(0, 3, 1, 2, 4);
  const ownOut = sharedPrefixAttention(
    ownQ.reshape(batch, responses, tokens, heads, size),
    shared,
    { keys: perResponse(ownK), values: perResponse(ownV) },
    layout.mask ?? responseMask(layout, q),
  );
  return cat([prefixAttention(prefixQ, shared), ownOut.view(batch, own, -1)], 1).view(batch, asked, -1);
}

/**
 * [B or 1, 1, 1, 1, T, L + T], added to scores: -Infinity at padding of the prompt and at what comes later; one for all
 * prompts of equal length.
 */
export function responseMask({ lengths, prefix, tokens }: Layout, { dtype, device }: Place): Tensor {
  const width = prefix + tokens;
  const later = full([1, 1, 1, 1, tokens, width], -Infinity, { dtype, device }).triu(prefix + 1);
  if (lengths.every((length) => length === prefix)) return later;
  const padding = new Float32Array(lengths.length * width);
  lengths.forEach((length, b) => padding.fill(-Infinity, b * width + length, b * width + prefix));
  return later.add(tensor(padding, { shape: [lengths.length, 1, 1, 1, 1, width], device }).to(dtype));
}

/**
 * Attention of T new tokens of K responses per prompt to the prompt and to their own keys.
 * @param q [B, K, T, H, d]
 * @param prefix of the prompts, [B, KV, L, d]
 * @param own [B, KV, K, S, d]
 * @param mask added to the scores; broadcasts to [B, KV, K, g, T, L + S]; undefined where everything is visible
 * @returns [B, K, T, H * d]
 */
function sharedPrefixAttention(q: Tensor, prefix: KeyValues, own: KeyValues, mask: Tensor | undefined): Tensor {
  const [batch, responses, tokens, heads, size] = q.shape as [number, number, number, number, number];
  const kvHeads = prefix.keys.size(1);
  const groups = heads / kvHeads;
  const prefixLength = prefix.keys.size(2);
  const ownLength = own.keys.size(3);

  // [B, KV, K, g, T, d]: rows of one prompt stand together for the prefix, rows of one response for its own keys.
  const queries = q
    .view(batch, responses, tokens, kvHeads, groups, size)
    .permute(0, 3, 1, 4, 2, 5)
    .mul(size ** -0.5)
    .contiguous();
  const byPrompt = (x: Tensor, last: number): Tensor => x.view(batch * kvHeads, responses * groups * tokens, last);
  const byResponse = (x: Tensor, last: number): Tensor => x.view(batch * kvHeads * responses, groups * tokens, last);
  const flatPrefix = (x: Tensor): Tensor => x.reshape(batch * kvHeads, prefixLength, size);
  const flatOwn = (x: Tensor): Tensor => x.reshape(batch * kvHeads * responses, ownLength, size);
  const scoreShape = [batch, kvHeads, responses, groups, tokens] as const;

  const scores = cat(
    [
      byPrompt(queries, size)
        .bmm(flatPrefix(prefix.keys).transpose(1, 2))
        .view(...scoreShape, prefixLength),
      byResponse(queries, size)
        .bmm(flatOwn(own.keys).transpose(1, 2))
        .view(...scoreShape, ownLength),
    ],
    -1,
  );
  const [onPrefix, onOwn] = (mask ? scores.add(mask) : scores).softmax(-1).split([prefixLength, ownLength], -1) as [
    Tensor,
    Tensor,
  ];
  const fromPrefix = byPrompt(onPrefix, prefixLength).bmm(flatPrefix(prefix.values));
  const fromOwn = byResponse(onOwn, ownLength).bmm(flatOwn(own.values));
  return fromPrefix
    .view(...scoreShape, size)
    .add(fromOwn.view(...scoreShape, size))
    .permute(0, 2, 4, 1, 3, 5)
    .reshape(batch, responses, tokens, heads * size);
}

/**
 * Where in their caches the new tokens of all rows go, on a device that computes it for itself: with every token the
 * same work on the same tensors.
 */
export interface NextPlace {
  /** int64 [1]: the number of tokens that are there. */
  readonly index: Tensor;
  /** Added to the scores, [B or 1, 1, 1, 1, 1, L + capacity]: -Infinity at padding and behind the new token. */
  readonly mask: Tensor;
}

/**
 * @param padding added to the scores of the prefix of L tokens, [B, 1, 1, 1, 1, L]
 * @param capacity of the caches
 */
export function placeAt(
  index: Tensor,
  padding: Tensor | undefined,
  prefix: number,
  capacity: number,
  dtype: DType,
): NextPlace {
  const later = arange(0, capacity).gt(index);
  const batch = padding?.size(0) ?? 1;
  const own = zeros([batch, 1, 1, 1, 1, capacity], { dtype }).maskedFill(later, -Infinity);
  return { index, mask: cat([padding ?? zeros([1, 1, 1, 1, 1, prefix], { dtype }), own], -1) };
}

/**
 * Attention of one new token of K responses per prompt, which is added to `own`, at a place that the device knows: the
 * decoding form of `sharedPrefixAttention`.
 * @param qkv of all heads before rotation, [B, K, H + 2 KV, d]
 * @param prefix [B, KV, d, L] and [B, KV, L, d]
 * @param own [B, KV, K, d, capacity] and [B, KV, K, capacity, d]; what is not filled must be finite
 * @returns [B, K, H * d]
 */
export function attendAtPlace(
  qkv: Tensor,
  rotation: Rotation,
  prefix: functional.DecodingCache,
  own: functional.DecodingCache,
  { index, mask }: NextPlace,
): Tensor {
  const kvHeads = own.keys.size(1);
  const heads = qkv.size(2) - 2 * kvHeads;
  const rotated = rotate(qkv.narrow(2, 0, heads + kvHeads), rotation);
  const [q, k] = rotated.split([heads, kvHeads], 2) as [Tensor, Tensor];
  const v = qkv.narrow(2, heads + kvHeads, kvHeads);
  callOp('index_copy_', own.keys, 4, index, k.transpose(1, 2).unsqueeze(-1));
  callOp('index_copy_', own.values, 3, index, v.transpose(1, 2).unsqueeze(3).to(own.values.dtype));
  const shared = { keys: prefix.keys.transpose(-1, -2), values: prefix.values };
  const seen = { keys: own.keys.transpose(-1, -2), values: own.values };
  return sharedPrefixAttention(q.unsqueeze(2), shared, seen, mask).squeeze(2);
}
