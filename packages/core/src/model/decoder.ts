/** The text decoder: RMSNorm, grouped-query attention with M-RoPE, SwiGLU. */
import { cat, functional, keep, nn, noGrad, scope, type Tensor } from '@visurf/torch';

import { attendAtPlace, packedAttention, type KeyValues, type Layout, type NextPlace } from './attention.ts';
import type { ModelConfig, TextConfig } from './config.ts';
import type { Kept } from './kept.ts';
import { Projection, projectGated, projectJoined, projectTogether } from './projection.ts';
import { rotate, type Rotation } from './rope.ts';
import { attendShared, type SharedPlace } from './shared-decoding.ts';

const placesFrom = (x: Tensor, from: number): Tensor => (from === 0 ? x : x.narrow(1, from, x.size(1) - from));

const rotationFrom = ({ cos, sin }: Rotation, from: number): Rotation => ({
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
  readonly _config: TextConfig;

  constructor(config: TextConfig) {
    super();
    const { hiddenSize, heads, keyValueHeads, headSize } = config;
    this._config = config;
    this.q_proj = new Projection(hiddenSize, heads * headSize);
    this.k_proj = new Projection(hiddenSize, keyValueHeads * headSize);
    this.v_proj = new Projection(hiddenSize, keyValueHeads * headSize);
    this.o_proj = new Projection(heads * headSize, hiddenSize, { bias: false });
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
    );
    const asked = from === 0 ? rotation : rotationFrom(rotation, from);
    return [rotate(q, asked), rotate(k, rotation), v.to(rotation.cos.dtype)];
  }

  /** Prompts alone: x [B, L, D]; also gives the keys and values that responses will attend to. */
  prefill(x: Tensor, rotation: Rotation, layout: Layout, from: number): [Tensor, KeyValues] {
    const [q, k, v] = this.#project(x, rotation, from);
    const attended = this.o_proj.forward(packedAttention([q, k, v], layout, this.q_proj._precision));
    return [attended, { keys: k.transpose(1, 2), values: v.transpose(1, 2) }];
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
      const qkv = this.#heads(projectTogether(all, x));
      return this.o_proj.forward(functional.decodeAttention(qkv, rotation, prefix, own, at, padding));
    }
    const qkv = this.#split(projectJoined(all, x));
    return this.o_proj.forward(
      'prompts' in at
        ? attendShared(qkv, this._config.keyValueHeads, rotation, prefix, own, at)
        : attendAtPlace(qkv, rotation, prefix, own, at),
    );
  }

  /** q [B, S, H, d], k and v [B, S, KV, d]; of q there may be fewer places. */
  #heads(qkv: readonly Tensor[]): [Tensor, Tensor, Tensor] {
    return qkv.map((each) => this.#split(each)) as [Tensor, Tensor, Tensor];
  }
  /** [B, S, heads, d] */
  #split(x: Tensor): Tensor {
    return x.view(x.size(0), x.size(1), -1, this._config.headSize);
  }
}

const isSmall = (projections: readonly Projection[]): boolean =>
  projections.reduce((sum, { weight }) => sum + weight.numel, 0) <= decodeWholeBelow;

/** Whether its product is of the weights as they are, on the CPU, in the dtype of the stream. */
const isPlain = ({ weight, lora, _precision }: Projection, { dtype }: Tensor): boolean =>
  !lora &&
  _precision !== 'bfloat16' &&
  weight.device === 'cpu' &&
  weight.dtype === dtype &&
  /^float(32|64)$/.test(dtype);

class Mlp extends nn.Module {
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
   * x [B, L, D] to [B, L - from, D]: places before `from` give only keys and values. That is enough of the last layer,
   * where nobody asks for them.
   */
  prefill(x: Tensor, rotation: Rotation, layout: Layout, from: number): [Tensor, KeyValues];
  /** x [B, L + K T, D] to [B, L + K T - from, D], likewise. */
  packed(x: Tensor, rotation: Rotation, layout: Layout, from: number): Tensor;
  /** One new token of each of K responses per prompt: x [B, K, D]. It takes place `at` of `own`. */
  decode(
    x: Tensor,
    rotation: Rotation,
    prefix: functional.DecodingCache,
    own: functional.DecodingCache,
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
 * (normed streams, cast for each of q, k, v, gate, up where they are in bfloat16; the output of attention; gate and up
 * together), gate and up.
 */
export function keptByLayer(config: TextConfig, isHalf: boolean): Kept {
  const { hiddenSize: width, intermediateSize: inner, heads, headSize } = config;
  const queries = heads * headSize;
  return { stream: 2 * width + queries, products: (isHalf ? 5 : 2) * width + queries + 3 * inner };
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

  prefill(x: Tensor, rotation: Rotation, layout: Layout, from: number): [Tensor, KeyValues] {
    const [attended, cache] = this.self_attn.prefill(this.input_layernorm.forward(x), rotation, layout, from);
    return [this.#feedForward(placesFrom(x, from).add(attended)), cache];
  }
  packed(x: Tensor, rotation: Rotation, layout: Layout, from: number): Tensor {
    const attended = this.self_attn.packed(this.input_layernorm.forward(x), rotation, layout, from);
    return this.#feedForward(placesFrom(x, from).add(attended));
  }
  decode(
    x: Tensor,
    rotation: Rotation,
    prefix: functional.DecodingCache,
    own: functional.DecodingCache,
    at: number | NextPlace | SharedPlace,
    padding: Tensor | undefined,
  ): Tensor {
    const normed = this.input_layernorm.forward(x);
    return this.#feedForward(x.add(this.self_attn.decode(normed, rotation, prefix, own, at, padding)));
  }

  startDecoding(pack: boolean): void {
    const { q_proj, k_proj, v_proj, o_proj } = this.self_attn;
    const { gate_proj, up_proj, down_proj } = this.mlp;
    const norms = [this.input_layernorm.weight, this.post_attention_layernorm.weight] as const;
    const all = [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj];
    if (!isSmall(all) || !all.every((each) => isPlain(each, norms[0]))) {
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
    this.norm = new nn.RMSNorm(config.hiddenSize, config.rmsNormEps);
  }

  /** One new token of each of K responses per prompt: x [B, K, D], through all layers. It takes place `at` of `own`. */
  decode(
    x: Tensor,
    rotation: Rotation,
    prefix: readonly functional.DecodingCache[],
    own: readonly functional.DecodingCache[],
    at: number | NextPlace | SharedPlace,
    padding: Tensor | undefined,
  ): Tensor {
    const caches = this.layers.map((layer, i) => {
      const [shared, mine] = [prefix[i], own[i]];
      if (!shared || !mine) throw new Error(`layer ${i} has no cache`);
      return { layer, prefix: shared, own: mine };
    });
    const whole = caches.flatMap(({ layer, ...each }) => (layer._whole ? { ...each, weights: layer._whole } : []));
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
