/** Functions of `torch.nn.functional` that the models use. */
import { op } from './native.ts';
import { one, type Tensor } from './tensor.ts';

const ids = {
  linear: op('linear'),
  embedding: op('embedding'),
  layerNorm: op('layer_norm'),
  rmsNorm: op('visurf::rms_norm'),
  rotate: op('visurf::rotate'),
  swiglu: op('visurf::swiglu'),
  decodeAttention: op('visurf::decode_attention'),
  attention: op('scaled_dot_product_attention'),
  dropout: op('dropout'),
  upsampleBicubicAa: op('_upsample_bicubic2d_aa'),
};

/** x @ weight^T + bias */
export const linear = (x: Tensor, weight: Tensor, bias?: Tensor): Tensor =>
  one(ids.linear, x.handle, weight.handle, bias?.handle ?? null);
/** Rows of `weight` [V, D] at `indices` (int64). */
export const embedding = (weight: Tensor, indices: Tensor): Tensor => one(ids.embedding, weight.handle, indices.handle);
export const layerNorm = (x: Tensor, weight: Tensor, bias: Tensor | undefined, eps: number): Tensor =>
  one(ids.layerNorm, x.handle, [x.size(-1)], weight.handle, bias?.handle ?? null, eps);
/** x / sqrt(mean(x^2) + eps) * weight over the last dimension; one pass on the CPU. */
export const rmsNorm = (x: Tensor, weight: Tensor, eps: number): Tensor =>
  one(ids.rmsNorm, x.handle, weight.handle, eps);
/**
 * Rotary positions: x [..., heads, size] with cos and sin [..., 1, size], the sine negated in its first half; each head
 * becomes x cos + roll(x, size / 2) sin, in the dtype of cos.
 */
export const rotate = (x: Tensor, cos: Tensor, sin: Tensor): Tensor =>
  one(ids.rotate, x.handle, cos.handle, sin.handle);
/** silu(gate) * up */
export const swiglu = (gate: Tensor, up: Tensor): Tensor => one(ids.swiglu, gate.handle, up.handle);
export const dropout = (x: Tensor, p: number, training: boolean): Tensor => one(ids.dropout, x.handle, p, training);

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

/**
 * Attention of one new token of K responses per prompt to the prompt's keys, which they share, and to their own; on the
 * CPU, in float32 or float64, without a gradient.
 * @param q [B, K, H, d]
 * @param prefix keys and values, [B, KV, L, d]
 * @param own keys and values, [B, KV, K, capacity, d], contiguous, of which `length` tokens are filled
 * @param padding added to the scores of the prefix, [B, ..., L]
 * @returns [B, K, H * d]
 */
export const decodeAttention = (
  q: Tensor,
  prefix: { readonly keys: Tensor; readonly values: Tensor },
  own: { readonly keys: Tensor; readonly values: Tensor },
  length: number,
  padding: Tensor | undefined,
): Tensor =>
  one(
    ids.decodeAttention,
    q.handle,
    prefix.keys.handle,
    prefix.values.handle,
    own.keys.handle,
    own.values.handle,
    length,
    padding?.handle ?? null,
  );

/** Bicubic resize with antialiasing, as torchvision does on uint8: x [B, C, H, W] to [B, C, height, width]. */
export const resizeBicubic = (x: Tensor, height: number, width: number): Tensor =>
  one(ids.upsampleBicubicAa, x.handle, [height, width], false, null, null);
