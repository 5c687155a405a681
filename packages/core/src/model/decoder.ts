/** The text decoder: RMSNorm, grouped-query attention with M-RoPE, SwiGLU. */
import { cat, functional, keep, nn, noGrad, scope, type Tensor } from '@visurf/torch';

import { packedAttention, type Layout, type NextPlace } from './attention.ts';
import type { ModelConfig, TextConfig } from './config.ts';
import type { Kept } from './kept.ts';
import { forkKeys, keyed, type LayerState } from './layer-state.ts';
import { Projection, projectGated, projectJoined, projectTogether } from './projection.ts';
import { rotate, type Rotation } from './rope.ts';
import { attendPlaced, type SharedPlace } from './shared-decoding.ts';

/** x [B, S, ..] from that place on. */
export const placesFrom = (x: Tensor, from: number): Tensor => (from === 0 ? x : x.narrow(1, from, x.size(1) - from));

export const rotationFrom = ({ cos, sin }: Rotation, from: number): Rotation => ({
  cos: placesFrom(cos, from).contiguous(),
  sin: placesFrom(sin, from).contiguous(),
});

/**
 * Layers of at most so many weights decode in one call, each thread its share of the rows: every thread reads all of the
 * weights, which is cheap while they stay in the processor's cache.
 */
const decodeWholeBelow = 1 << 20;

class SelfAttention extends nn.Module {
  readonly q_proj: Projection;
  readonly k_proj: Projection;
  readonly v_proj: Projection;
  readonly o_proj: Projection;
  /** Of each head; undefined where the family has none. */
  readonly q_norm: nn.RMSNorm | undefined;
  readonly k_norm: nn.RMSNorm | undefined;
  readonly _config: TextConfig;

  constructor(config: TextConfig) {
    super();
    const { hiddenSize, heads, keyValueHeads, headSize, attentionBias: bias, queryKeyNorm, rmsNormEps } = config;
    const norm = (): nn.RMSNorm | undefined => (queryKeyNorm ? new nn.RMSNorm(headSize, rmsNormEps) : undefined);
    this._config = config;
    this.q_proj = new Projection(hiddenSize, heads * headSize, { bias });
    this.k_proj = new Projection(hiddenSize, keyValueHeads * headSize, { bias });
    this.v_proj = new Projection(hiddenSize, keyValueHeads * headSize, { bias });
    this.o_proj = new Projection(heads * headSize, hiddenSize, { bias: config.outputBias });
    this.q_norm = norm();
    this.k_norm = norm();
  }

  /**
   * q [B, S - from, H, d], k and v [B, S, KV, d] of x [B, S, D], rotated, in the precision of attention (never
   * bfloat16).
   */
  #project(x: Tensor, rotation: Rotation, from: number): [Tensor, Tensor, Tensor] {
    const all = [this.q_proj, this.k_proj, this.v_proj];
    const [q, k, v] = this.#heads(
      from === 0
        ? projectTogether(all, x)
        : [this.q_proj.forward(placesFrom(x, from)), ...projectTogether(all.slice(1), x)],
      rotation,
    );
    const asked = from === 0 ? rotation : rotationFrom(rotation, from);
    return [rotate(q, asked), rotate(k, rotation), v.to(rotation.cos.dtype)];
  }

  /** Prompts alone: x [B, L, D]; also gives the keys and values that responses will attend to. */
  prefill(x: Tensor, rotation: Rotation, layout: Layout, from: number): [Tensor, LayerState] {
    const [q, k, v] = this.#project(x, rotation, from);
    const attended = this.o_proj.forward(packedAttention([q, k, v], layout, this.q_proj._precision));
    return [attended, keysToDecode(k, v)];
  }

  /** Prompts and their responses in one packed row: x [B, L + K T, D]. */
  packed(x: Tensor, rotation: Rotation, layout: Layout, from: number): Tensor {
    const qkv = this.#project(x, rotation, from);
    return this.o_proj.forward(packedAttention(qkv, layout, this.q_proj._precision));
  }

  /** One new token of each of K responses per prompt: x [B, K, D]. It takes place `at` of `own`. */
  decode(
    x: Tensor,
    rotation: Rotation,
    prefix: functional.DecodingCache,
    own: functional.DecodingCache,
    at: number | NextPlace | SharedPlace,
    padding: Tensor | undefined,
  ): Tensor {
    const all = [this.q_proj, this.k_proj, this.v_proj];
    if (typeof at === 'number') {
      const qkv = this.#heads(projectTogether(all, x), rotation);
      return this.o_proj.forward(functional.decodeAttention(qkv, rotation, prefix, own, at, padding));
    }
    const { heads, keyValueHeads, headSize } = this._config;
    const joined = projectJoined(all, x);
    const split = joined.view(joined.size(0), joined.size(1), -1, headSize);
    const qkv = this.q_norm
      ? cat(this.#normed(split.split([heads, keyValueHeads, keyValueHeads], 2), rotation), 2)
      : split;
    return this.o_proj.forward(attendPlaced(qkv, keyValueHeads, rotation, prefix, own, at));
  }

  /** q [B, S, H, d], k and v [B, S, KV, d], normed and not yet rotated; of q there may be fewer places. */
  #heads(qkv: readonly Tensor[], rotation: Rotation): [Tensor, Tensor, Tensor] {
    const split = (each: Tensor): Tensor => each.view(each.size(0), each.size(1), -1, this._config.headSize);
    return this.#normed(qkv.map(split), rotation);
  }
  #normed(qkv: readonly Tensor[], { cos: { dtype } }: Rotation): [Tensor, Tensor, Tensor] {
    const normed = (each: Tensor, norm: nn.RMSNorm | undefined): Tensor => norm?.forward(each.to(dtype)) ?? each;
    const [q, k, v] = qkv as [Tensor, Tensor, Tensor];
    return [normed(q, this.q_norm), normed(k, this.k_norm), v];
  }
}

/** What decoding reads of keys and values [B, L, KV, d]. */
export const keysToDecode = (keys: Tensor, values: Tensor): LayerState => ({
  keys: keys.permute(0, 2, 3, 1).contiguous(),
  values: values.transpose(1, 2).contiguous(),
});

const isSmall = (projections: readonly Projection[]): boolean =>
  projections.reduce((sum, { weight }) => sum + weight.numel, 0) <= decodeWholeBelow;

/** Whether its product is of the weights as they are, on the CPU, in the dtype of the stream. */
const isPlain = ({ weight, lora, _nf4, _precision }: Projection, { dtype }: Tensor): boolean =>
  !lora &&
  !_nf4 &&
  _precision !== 'bfloat16' &&
  weight.device === 'cpu' &&
  weight.dtype === dtype &&
  /^float(32|64)$/.test(dtype);

export class Mlp extends nn.Module {
  readonly gate_proj: Projection;
  readonly up_proj: Projection;
  readonly down_proj: Projection;

  constructor({ hiddenSize, intermediateSize }: TextConfig) {
    super();
    this.gate_proj = new Projection(hiddenSize, intermediateSize, {
      bias: false,
    });
    this.up_proj = new Projection(hiddenSize, intermediateSize, {
      bias: false,
    });
    this.down_proj = new Projection(intermediateSize, hiddenSize, {
      bias: false,
    });
  }
  forward(x: Tensor): Tensor {
    return this.down_proj.forward(projectGated(this.gate_proj, this.up_proj, x));
  }
}

/** A layer as the decoder runs it. */
export interface DecoderBlock extends nn.Module {
  /**
   * x [B, L, D] to [B, L - from, D]: places before `from` give only what later ones remember of them. That is enough of
   * the last layer, where nobody asks for them.
   */
  prefill(x: Tensor, rotation: Rotation, layout: Layout, from: number): [Tensor, LayerState];
  /** x [B, L + K T, D] to [B, L + K T - from, D], likewise. */
  packed(x: Tensor, rotation: Rotation, layout: Layout, from: number): Tensor;
  /** The state of K responses of so many tokens to each prompt, of those of the prompts after `prefill`. */
  fork(prefix: LayerState, responses: number, tokens: number): LayerState;
  /** One new token of each of K responses per prompt: x [B, K, D]. It takes place `at` of `own`, or moves it on. */
  decode(
    x: Tensor,
    rotation: Rotation,
    prefix: LayerState,
    own: LayerState,
    at: number | NextPlace | SharedPlace,
    padding: Tensor | undefined,
  ): Tensor;
  /** Weights with which the layer can decode in one call, between `startDecoding` and `endDecoding`. */
  readonly _whole: functional.DecoderWeights | undefined;
  /**
   * To be called before many passes of `decode`, with weights that stay as they are until `endDecoding`.
   * @param pack whether weights are packed for few rows, where the layer does not decode in one call
   */
  startDecoding(pack: boolean): void;
  endDecoding(): void;
}

/**
 * What a layer keeps beside its attention, per token: the stream before both norms and rotated queries; what products read
 * (normed streams, cast for each of q, k, v, gate, up where they alone are in bfloat16; the output of attention; gate and up
 * together), gate and up; queries and keys before their norms.
 */
export function keptByLayer(config: TextConfig, casts: boolean): Kept {
  const { hiddenSize: width, intermediateSize: inner, heads, keyValueHeads, headSize, queryKeyNorm } = config;
  const queries = heads * headSize;
  const normed = queryKeyNorm ? queries + keyValueHeads * headSize : 0;
  return { stream: 2 * width, attention: queries + normed, products: (casts ? 5 : 2) * width + queries + 3 * inner };
}

export class DecoderLayer extends nn.Module implements DecoderBlock {
  readonly input_layernorm: nn.RMSNorm;
  readonly self_attn: SelfAttention;
  readonly post_attention_layernorm: nn.RMSNorm;
  readonly mlp: Mlp;
  _whole: functional.DecoderWeights | undefined;

  constructor(config: TextConfig) {
    super();
    this.input_layernorm = new nn.RMSNorm(config.hiddenSize, config.rmsNormEps);
    this.self_attn = new SelfAttention(config);
    this.post_attention_layernorm = new nn.RMSNorm(config.hiddenSize, config.rmsNormEps);
    this.mlp = new Mlp(config);
  }

  prefill(x: Tensor, rotation: Rotation, layout: Layout, from: number): [Tensor, LayerState] {
    const [attended, cache] = this.self_attn.prefill(this.input_layernorm.forward(x), rotation, layout, from);
    return [this.#feedForward(placesFrom(x, from).add(attended)), cache];
  }
  packed(x: Tensor, rotation: Rotation, layout: Layout, from: number): Tensor {
    const attended = this.self_attn.packed(this.input_layernorm.forward(x), rotation, layout, from);
    return this.#feedForward(placesFrom(x, from).add(attended));
  }
  fork(prefix: LayerState, responses: number, tokens: number): LayerState {
    return forkKeys(keyed(prefix), responses, tokens);
  }
  decode(
    x: Tensor,
    rotation: Rotation,
    prefix: LayerState,
    own: LayerState,
    at: number | NextPlace | SharedPlace,
    padding: Tensor | undefined,
  ): Tensor {
    const normed = this.input_layernorm.forward(x);
    return this.#feedForward(x.add(this.self_attn.decode(normed, rotation, keyed(prefix), keyed(own), at, padding)));
  }

  startDecoding(pack: boolean): void {
    const { q_proj, k_proj, v_proj, o_proj } = this.self_attn;
    const { gate_proj, up_proj, down_proj } = this.mlp;
    const norms = [this.input_layernorm.weight, this.post_attention_layernorm.weight] as const;
    const all = [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj];
    const { queryKeyNorm, attentionBias, outputBias } = this.self_attn._config;
    const isKnown = attentionBias && !outputBias && !queryKeyNorm; // to the kernel
    if (!isKnown || !isSmall(all) || !all.every((each) => isPlain(each, norms[0]))) {
      for (const each of all) each._pack = pack;
      return;
    }
    const joined = (...projections: readonly Projection[]): Tensor =>
      cat(projections.map(({ weight }) => weight))
        .t()
        .contiguous();
    this._whole = noGrad(() =>
      scope(() => ({
        inputNorm: keep(norms[0].detach()),
        qkv: keep(joined(q_proj, k_proj, v_proj)),
        bias: keep(cat([q_proj, k_proj, v_proj].flatMap(({ bias }) => bias ?? []))),
        output: keep(joined(o_proj)),
        postNorm: keep(norms[1].detach()),
        gateUp: keep(joined(gate_proj, up_proj)),
        down: keep(joined(down_proj)),
      })),
    );
  }
  endDecoding(): void {
    for (const each of Object.values(this._whole ?? {}) as Tensor[]) each.dispose();
    this._whole = undefined;
  }

  #feedForward(x: Tensor): Tensor {
    return x.add(this.mlp.forward(this.post_attention_layernorm.forward(x)));
  }
}

export class Decoder extends nn.Module {
  readonly embed_tokens: nn.Embedding;
  readonly layers: readonly DecoderBlock[];
  readonly norm: nn.RMSNorm;

  constructor({ family, text: config }: ModelConfig) {
    super();
    this.embed_tokens = new nn.Embedding(config.vocabularySize, config.hiddenSize);
    this.layers = Array.from({ length: config.layers }, (_, i) => family.layer(config, i));
    this.norm =
      family.norm?.(config.hiddenSize, config.rmsNormEps) ?? new nn.RMSNorm(config.hiddenSize, config.rmsNormEps);
  }

  /** One new token of each of K responses per prompt: x [B, K, D], through all layers. It takes place `at` of `own`. */
  decode(
    x: Tensor,
    rotation: Rotation,
    prefix: readonly LayerState[],
    own: readonly LayerState[],
    at: number | NextPlace | SharedPlace,
    padding: Tensor | undefined,
  ): Tensor {
    const caches = this.layers.map((layer, i) => {
      const [shared, mine] = [prefix[i], own[i]];
      if (!shared || !mine) throw new Error(`layer ${i} has no cache`);
      return { layer, prefix: shared, own: mine };
    });
    const whole = caches.flatMap(({ layer, prefix: shared, own: mine }) =>
      layer._whole ? { prefix: keyed(shared), own: keyed(mine), weights: layer._whole } : [],
    );
    if (whole.length === caches.length && typeof at === 'number') {
      return functional.decodeLayers(x, rotation, whole, at, padding, this.norm.eps);
    }
    let stream = x;
    for (const { layer, prefix: shared, own: mine } of caches) {
      stream = scope(() => layer.decode(stream, rotation, shared, mine, at, padding));
    }
    return stream;
  }
}
