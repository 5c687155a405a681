/**
 * Attention of the decoder. Responses attend to their prompt as a shared prefix: its keys and values exist once per
 * prompt, and one softmax runs over prefix and own keys together (Prefix Grouper, arXiv 2506.05433: exact; merging
 * partial attentions by logsumexp would not be, in the gradients of q and k).
 *
 * Legend: B prompts, K responses each, L prompt tokens, T new tokens, S own keys, g query heads per key head, d head size.
 */
import { cat, functional, zeros, type Tensor } from '@visurf/torch';

/** Keys and values of one layer: [B, KV, L, d]. */
export interface KeyValues {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/**
 * Causal attention of prompts within themselves, padded on the right (no mask needed: what comes later is not seen).
 * @param q [B, L, H, d] @returns [B, L, H * d]
 */
export function prefixAttention(q: Tensor, { keys, values }: KeyValues): Tensor {
  const [batch, length, heads] = [q.size(0), q.size(1), q.size(2)];
  const repeats = heads / keys.size(1);
  const repeat = (x: Tensor): Tensor => (repeats === 1 ? x : x.repeatInterleave(repeats, 1));
  const out = functional.scaledDotProductAttention(q.transpose(1, 2), repeat(keys), repeat(values), { causal: true });
  return out.transpose(1, 2).reshape(batch, length, -1);
}

/**
 * Attention of T new tokens of K responses per prompt to the prompt and to their own keys.
 * @param q [B, K, T, H, d]
 * @param prefix of the prompts, [B, KV, L, d]
 * @param own [B, KV, K, S, d]
 * @param mask added to the scores; broadcasts to [B, KV, K, g, T, L + S]; undefined where everything is visible
 * @returns [B, K, T, H * d]
 */
export function sharedPrefixAttention(q: Tensor, prefix: KeyValues, own: KeyValues, mask: Tensor | undefined): Tensor {
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
 * Attention of one new token of K responses per prompt: the decoding form of `sharedPrefixAttention`, a kernel of ours
 * on the CPU.
 * @param q [B, K, H, d]
 * @param own [B, KV, K, capacity, d], of which `length` tokens are filled
 * @param padding added to the scores of the prefix, [B, 1, 1, 1, 1, L]
 * @returns [B, K, H * d]
 */
export function decodeAttention(
  q: Tensor,
  prefix: KeyValues,
  own: KeyValues,
  length: number,
  padding: Tensor | undefined,
): Tensor {
  if (q.device === 'cpu') return functional.decodeAttention(q, prefix, own, length, padding);
  const seen = { keys: own.keys.narrow(3, 0, length), values: own.values.narrow(3, 0, length) };
  const { dtype, device } = q;
  const mask = padding && cat([padding, zeros([...padding.shape.slice(0, -1), length], { dtype, device })], -1);
  return sharedPrefixAttention(q.unsqueeze(2), prefix, seen, mask).squeeze(2);
}
