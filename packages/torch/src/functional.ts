/** Functions of `torch.nn.functional` that the models use. */
import { randn } from './factories.ts';
import { TorchError, op } from './native.ts';
import { scope } from './scope.ts';
import { many, one, type Tensor } from './tensor.ts';

const ids = {
  linear: op('visurf::linear'),
  addProduct: op('visurf::add_product_'),
  embedding: op('embedding'),
  layerNorm: op('layer_norm'),
  rmsNorm: op('visurf::rms_norm'),
  rotate: op('visurf::rotate'),
  swiglu: op('visurf::swiglu'),
  packedAttention: op('visurf::packed_attention'),
  decodeAttention: op('visurf::decode_attention'),
  decodeLayers: op('visurf::decode_layers'),
  countedDropout: op('visurf::counted_dropout'),
  deltaRule: op('visurf::delta_rule'),
  deltaToken: op('visurf::delta_token'),
  sample: op('visurf::sample'),
  attention: op('scaled_dot_product_attention'),
  dropout: op('dropout'),
  upsampleBicubicAa: op('_upsample_bicubic2d_aa'),
};

/** x @ weight^T + bias */
export const linear = (x: Tensor, weight: Tensor, bias?: Tensor): Tensor =>
  one(ids.linear, x.handle, weight.handle, bias?.handle ?? null);
/** sum [R, C] += a^T b of a [N, R] and b [N, C], all of one dtype; without a gradient. */
export const addProduct = (sum: Tensor, a: Tensor, b: Tensor): void => {
  one(ids.addProduct, sum.handle, a.handle, b.handle);
};
/**
 * A copy of `weight` [out, in] in the order in which oneDNN multiplies fastest, for `linearPacked` alone: other operators
 * refuse it. With few rows that product is two to three times faster than `linear`.
 * @returns undefined where libtorch cannot: other devices and dtypes, processors without the instructions
 */
export function packWeight(weight: Tensor): Tensor | undefined {
  const { device, dtype } = weight;
  if (device !== 'cpu' || (dtype !== 'float32' && dtype !== 'bfloat16')) return undefined;
  canPack[dtype] ??= succeeds(() => {
    const small = randn([16, 16], { device: 'cpu' }).to(dtype);
    linearPacked(small, one(op('mkldnn::_reorder_linear_weight'), small.handle, null), undefined);
  });
  return canPack[dtype] ? one(op('mkldnn::_reorder_linear_weight'), weight.handle, null) : undefined;
}
const canPack: { float32?: boolean; bfloat16?: boolean } = {};

function succeeds(body: () => void): boolean {
  try {
    scope(body);
    return true;
  } catch (error) {
    if (error instanceof TorchError) return false;
    throw error;
  }
}

/** x @ weight^T + bias with what `packWeight` made of the weight; without a gradient. */
export const linearPacked = (x: Tensor, packed: Tensor, bias: Tensor | undefined): Tensor =>
  one(op('mkldnn::_linear_pointwise'), x.handle, packed.handle, bias?.handle ?? null, 'none', [], '');
/** Rows of `weight` [V, D] at `indices` (int64). */
export const embedding = (weight: Tensor, indices: Tensor): Tensor => one(ids.embedding, weight.handle, indices.handle);
/** A norm's weights in the dtype of its rows: libtorch's kernels take no others, and compute in float32 all the same. */
const as = (weight: Tensor, { dtype }: Tensor): Tensor => (weight.dtype === dtype ? weight : weight.to(dtype));
/** (x - mean) / sqrt(var + eps) * weight + bias over the last dimension, in the dtype of x. */
export const layerNorm = (x: Tensor, weight: Tensor, bias: Tensor | undefined, eps: number): Tensor =>
  one(ids.layerNorm, x.handle, [x.size(-1)], as(weight, x).handle, bias ? as(bias, x).handle : null, eps);
/** x / sqrt(mean(x^2) + eps) * weight over the last dimension, in the dtype of x; one pass on the CPU. */
export const rmsNorm = (x: Tensor, weight: Tensor, eps: number): Tensor =>
  one(ids.rmsNorm, x.handle, as(weight, x).handle, eps);
/**
 * Rotary positions: x [..., heads, size] with cos and sin [..., 1, size], the sine negated in its first half; each head
 * becomes x cos + roll(x, size / 2) sin, in the dtype of cos.
 */
export const rotate = (x: Tensor, cos: Tensor, sin: Tensor): Tensor =>
  one(ids.rotate, x.handle, cos.handle, sin.handle);
/** silu(gate) * up; without `up` the two halves of `gate`'s last dimension. */
export const swiglu = (gate: Tensor, up?: Tensor): Tensor => one(ids.swiglu, gate.handle, up?.handle ?? null);
export const dropout = (x: Tensor, p: number, training: boolean): Tensor => one(ids.dropout, x.handle, p, training);

/** Which draws an input of `countedDropout` is compared with. */
export interface CountedDraws {
  /** int64 [...]: of the rows of the input [..., in]; hashed with the place in the row, to four draws of 16 bits each. */
  readonly keys: Tensor;
  /** An integer below 2^53 that tells draws for the same keys apart, odd. */
  readonly gamma: number;
  /** int64 [ceil(in / 4)], 1, 2, ...; made where it is needed and not given: not on the CPU. */
  readonly steps?: Tensor | undefined;
}

/**
 * x with zeros in a share of `below` / 65536 of its places, and not scaled: which, depends on the keys, gamma and the
 * column alone, whatever the device and the dtype. With a gradient, which on the CPU keeps nothing but the keys.
 */
export const countedDropout = (x: Tensor, { keys, gamma, steps }: CountedDraws, below: number): Tensor =>
  one(ids.countedDropout, x.handle, keys.handle, steps?.handle ?? null, gamma, below);

export interface AttentionOptions {
  /** Added to the scores, or boolean with true where attention is allowed; broadcasts to [B, H, T, S]. */
  readonly mask?: Tensor;
  readonly causal?: boolean;
  readonly scale?: number;
  /** Query heads share key and value heads in groups. */
  readonly groupedQuery?: boolean;
}

/** softmax(q k^T * scale + mask) v; q [B, H, T, d], k and v [B, H, S, d]. */
export const scaledDotProductAttention = (q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor =>
  one(
    ids.attention,
    q.handle,
    k.handle,
    v.handle,
    options.mask?.handle ?? null,
    0,
    options.causal ?? false,
    options.scale ?? null,
    options.groupedQuery ?? false,
  );

/** What a decoding step attends to: keys with the head size before the tokens, contiguous. */
export interface DecodingCache {
  /** [..., d, tokens] */
  readonly keys: Tensor;
  /** [..., tokens, d] */
  readonly values: Tensor;
}

/**
 * Causal attention of rows that hold a prompt and K responses to it, each of which sees the prompt and itself: S = L + K T
 * places, [prompt, padded right to L | K responses of T]. With a gradient; on the CPU, in float32 or float64.
 * @param q of the last places of each row, all responses among them, [B, at most S, H, d]
 * @param k [B, S, KV, d], like v
 * @param lengths of the prompts, without their padding
 * @returns [B, at most S, H * d]
 */
export const packedAttention = (
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  lengths: readonly number[],
  responses: number,
  tokens: number,
): Tensor => one(ids.packedAttention, q.handle, k.handle, v.handle, lengths, responses, tokens);

/**
 * Attention of one new token of K responses per prompt to the prompt's keys, which they share, and to their own, to
 * which the token is added; on the CPU, in the dtype of the rotation (float32 or float64), without a gradient.
 * @param q [B, K, H, d] before rotation, like k and v [B, K, KV, d]
 * @param rotation as in `rotate`, of each prompt's new tokens: cos and sin [B, 1, 1, d]
 * @param prefix [B, KV, d, L] and [B, KV, L, d]
 * @param own [B, KV, K, d, capacity] and [B, KV, K, capacity, d], of which the first `at` tokens are filled
 * @param padding added to the scores of the prefix, [B, ..., L]
 * @returns [B, K, H * d]
 */
export const decodeAttention = (
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  rotation: { readonly cos: Tensor; readonly sin: Tensor },
  prefix: DecodingCache,
  own: DecodingCache,
  at: number,
  padding: Tensor | undefined,
): Tensor =>
  one(
    ids.decodeAttention,
    q.handle,
    k.handle,
    v.handle,
    rotation.cos.handle,
    rotation.sin.handle,
    prefix.keys.handle,
    prefix.values.handle,
    own.keys.handle,
    own.values.handle,
    at,
    padding?.handle ?? null,
  );

/** Weights of a decoder layer, with matrices [in, out], contiguous and of one dtype. */
export interface DecoderWeights {
  /** [D] */
  readonly inputNorm: Tensor;
  /** Weights of queries, keys and values, [D, (H + 2 KV) d], with a bias. */
  readonly qkv: Tensor;
  readonly bias: Tensor;
  /** [H d, D] */
  readonly output: Tensor;
  /** [D] */
  readonly postNorm: Tensor;
  /** [D, 2 I] */
  readonly gateUp: Tensor;
  /** [I, D] */
  readonly down: Tensor;
}

/** What a decoder layer decodes with. */
export interface DecodingLayer {
  readonly weights: DecoderWeights;
  readonly prefix: DecodingCache;
  readonly own: DecodingCache;
}

/**
 * Decoder layers, one after the other, on one new token of K responses per prompt, around `decodeAttention`; on the CPU,
 * in float32 or float64, without a gradient.
 * @param x [B, K, D]
 * @param eps of the norms
 * @returns [B, K, D]
 */
export const decodeLayers = (
  x: Tensor,
  rotation: { readonly cos: Tensor; readonly sin: Tensor },
  layers: readonly DecodingLayer[],
  at: number,
  padding: Tensor | undefined,
  eps: number,
): Tensor =>
  one(
    ids.decodeLayers,
    x.handle,
    rotation.cos.handle,
    rotation.sin.handle,
    layers.map(({ prefix }) => prefix.keys.handle),
    layers.map(({ prefix }) => prefix.values.handle),
    layers.map(({ own }) => own.keys.handle),
    layers.map(({ own }) => own.values.handle),
    at,
    padding?.handle ?? null,
    layers.flatMap(({ weights: { inputNorm, qkv, bias, output, postNorm, gateUp, down } }) =>
      [inputNorm, qkv, bias, output, postNorm, gateUp, down].map(({ handle }) => handle),
    ),
    eps,
  );

/** What the gated delta rule reads of N rows of T tokens. */
export interface DeltaInput {
  /** [N, T, Hk, dk]; key head h serves value heads h r .. h r + r - 1, r = Hv / Hk */
  readonly q: Tensor;
  readonly k: Tensor;
  /** [N, T, Hv, dv] */
  readonly v: Tensor;
  /** [N, T, Hv]: logarithm of the decay, at most 0, and the rate of writing; both 0 leave the state as it is. */
  readonly g: Tensor;
  readonly beta: Tensor;
}

/**
 * The gated delta rule (arXiv 2412.06464) over whole rows, with a gradient, on any device: S' = exp(g) S,
 * S = S' + beta k (v - S'^T k)^T, o = S^T q for one token after the other. The backward pass computes it again.
 * @param state S before the first token, [N, Hv, dk, dv]; undefined: zeros
 * @returns o [N, T, Hv, dv] and S behind the last token
 */
export const deltaRule = ({ q, k, v, g, beta }: DeltaInput, state?: Tensor): [Tensor, Tensor] =>
  many(ids.deltaRule, q.handle, k.handle, v.handle, g.handle, beta.handle, state?.handle ?? null) as [Tensor, Tensor];

/**
 * One token further through a gated delta net, from its convolution to its gated norm: silu of what `taps` make of the
 * tokens in `tail` and of this one; q and k of length 1, q over the square root of dk; the rule; silu(gate) times the norm
 * of every head. Moves `tail` and `sums` on. On the CPU, in float32 or float64, without a gradient; all contiguous.
 * @param mixed q, k and v of the token [R, C]; `g`, `beta` [R, Hv], `gate` [R, Hv dv]
 * @param taps [W, C], `norm` [dv]
 * @param state `tail` [R, W - 1, C] and `sums` [R, Hv, dk, dv]
 * @returns [R, Hv dv]
 */
export const deltaToken = (
  { mixed, g, beta, gate }: Record<'mixed' | 'g' | 'beta' | 'gate', Tensor>,
  { taps, norm, eps }: { readonly taps: Tensor; readonly norm: Tensor; readonly eps: number },
  { tail, sums }: Record<'tail' | 'sums', Tensor>,
): Tensor =>
  one(
    ids.deltaToken,
    mixed.handle,
    g.handle,
    beta.handle,
    gate.handle,
    taps.handle,
    norm.handle,
    tail.handle,
    sums.handle,
    eps,
  );

/**
 * A token per row by inverse transform sampling: the first whose cumulative probability exceeds the row's noise, under
 * softmax((logits + forbidden) / temperature). On the CPU, in float32 or float64.
 * @param logits [R, V]
 * @param noise [R] in [0, 1), float64
 * @param forbidden [V], -Infinity at what must not be chosen
 * @returns tokens [R] and their log-probabilities under softmax(logits) [R], float64
 */
export const sample = (
  logits: Tensor,
  noise: Tensor,
  forbidden: Tensor | undefined,
  temperature: number,
): [Tensor, Tensor] =>
  many(ids.sample, logits.handle, noise.handle, forbidden?.handle ?? null, temperature) as [Tensor, Tensor];

/** Bicubic resize with antialiasing, as torchvision does on uint8: x [B, C, H, W] to [B, C, height, width]. */
export const resizeBicubic = (x: Tensor, height: number, width: number): Tensor =>
  one(ids.upsampleBicubicAa, x.handle, [height, width], false, null, null);
