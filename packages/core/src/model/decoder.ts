/** The text decoder: RMSNorm, grouped-query attention with M-RoPE, SwiGLU. */
import { cat, functional, nn, type Tensor } from '@visurf/torch';

import { decodeAttention, prefixAttention, sharedPrefixAttention, type KeyValues } from './attention.ts';
import type { TextConfig } from './config.ts';
import { Projection, projectTogether } from './projection.ts';
import { rotate, type Rotation } from './rope.ts';

/** How the tokens of a packed row [prompt | responses] lie: L of the prompt, then K responses of T (or none). */
export interface Layout {
  readonly prefix: number;
  readonly responses: number;
  readonly tokens: number;
}

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

  /** q [B, S, H, d], k and v [B, S, KV, d] of x [B, S, D], rotated, in the precision of attention (never bfloat16). */
  #project(x: Tensor, rotation: Rotation): [Tensor, Tensor, Tensor] {
    const { heads, keyValueHeads, headSize } = this._config;
    const [batch, tokens] = [x.size(0), x.size(1)];
    const projections = [this.q_proj, this.k_proj, this.v_proj];
    const [q, k, v] = projectTogether(projections, x) as [Tensor, Tensor, Tensor];
    return [
      rotate(q.view(batch, tokens, heads, headSize), rotation),
      rotate(k.view(batch, tokens, keyValueHeads, headSize), rotation),
      v.view(batch, tokens, keyValueHeads, headSize).to(rotation.cos.dtype),
    ];
  }

  /** Prompts alone: x [B, L, D]; also gives the keys and values that responses will attend to. */
  prefill(x: Tensor, rotation: Rotation): [Tensor, KeyValues] {
    const [q, k, v] = this.#project(x, rotation);
    const cache = { keys: k.transpose(1, 2), values: v.transpose(1, 2) };
    return [this.o_proj.forward(prefixAttention(q, cache)), cache];
  }

  /** Prompts and their responses in one packed row: x [B, L + K T, D]. */
  packed(x: Tensor, rotation: Rotation, layout: Layout, mask: Tensor): Tensor {
    const { prefix, responses, tokens } = layout;
    const { heads, keyValueHeads, headSize } = this._config;
    if (responses === 0) return this.prefill(x, rotation)[0];
    const [q, k, v] = this.#project(x, rotation);
    const batch = x.size(0);
    const parts = (each: Tensor): [Tensor, Tensor] => each.split([prefix, responses * tokens], 1) as [Tensor, Tensor];
    const [prefixQ, ownQ] = parts(q);
    const [prefixK, ownK] = parts(k);
    const [prefixV, ownV] = parts(v);
    const shared = {
      keys: prefixK.transpose(1, 2),
      values: prefixV.transpose(1, 2),
    };
    // [B, KV, K, T, d]
    const perResponse = (each: Tensor): Tensor =>
      each.reshape(batch, responses, tokens, keyValueHeads, headSize).permute(0, 3, 1, 2, 4);
    const own = { keys: perResponse(ownK), values: perResponse(ownV) };
    const ownOut = sharedPrefixAttention(ownQ.reshape(batch, responses, tokens, heads, headSize), shared, own, mask);
    const out = cat([prefixAttention(prefixQ, shared), ownOut.view(batch, responses * tokens, -1)], 1);
    return this.o_proj.forward(out);
  }

  /**
   * One new token of each of K responses per prompt: x [B, K, D]. Its key and value go to place `at` of `own`
   * [B, KV, K, capacity, d].
   */
  decode(
    x: Tensor,
    rotation: Rotation,
    prefix: KeyValues,
    own: KeyValues,
    at: number,
    padding: Tensor | undefined,
  ): Tensor {
    const [q, k, v] = this.#project(x, rotation);
    const [batch, responses] = [x.size(0), x.size(1)];
    own.keys.select(3, at).copy_(k.transpose(1, 2));
    own.values.select(3, at).copy_(v.transpose(1, 2));
    const out = decodeAttention(q, prefix, own, at + 1, padding);
    return this.o_proj.forward(out.view(batch, responses, -1));
  }
}

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
    const [gate, up] = projectTogether([this.gate_proj, this.up_proj], x) as [Tensor, Tensor];
    return this.down_proj.forward(functional.swiglu(gate, up));
  }
}

export class DecoderLayer extends nn.Module {
  readonly input_layernorm: nn.RMSNorm;
  readonly self_attn: SelfAttention;
  readonly post_attention_layernorm: nn.RMSNorm;
  readonly mlp: Mlp;

  constructor(config: TextConfig) {
    super();
    this.input_layernorm = new nn.RMSNorm(config.hiddenSize, config.rmsNormEps);
    this.self_attn = new SelfAttention(config);
    this.post_attention_layernorm = new nn.RMSNorm(config.hiddenSize, config.rmsNormEps);
    this.mlp = new Mlp(config);
  }

  prefill(x: Tensor, rotation: Rotation): [Tensor, KeyValues] {
    const [attended, cache] = this.self_attn.prefill(this.input_layernorm.forward(x), rotation);
    return [this.#feedForward(x.add(attended)), cache];
  }
  packed(x: Tensor, rotation: Rotation, layout: Layout, mask: Tensor): Tensor {
    return this.#feedForward(x.add(this.self_attn.packed(this.input_layernorm.forward(x), rotation, layout, mask)));
  }
  decode(
    x: Tensor,
    rotation: Rotation,
    prefix: KeyValues,
    own: KeyValues,
    at: number,
    padding: Tensor | undefined,
  ): Tensor {
    const normed = this.input_layernorm.forward(x);
    return this.#feedForward(x.add(this.self_attn.decode(normed, rotation, prefix, own, at, padding)));
  }

  #feedForward(x: Tensor): Tensor {
    return x.add(this.mlp.forward(this.post_attention_layernorm.forward(x)));
  }
}

export class Decoder extends nn.Module {
  readonly embed_tokens: nn.Embedding;
  readonly layers: readonly DecoderLayer[];
  readonly norm: nn.RMSNorm;

  constructor(config: TextConfig) {
    super();
    this.embed_tokens = new nn.Embedding(config.vocabularySize, config.hiddenSize);
    this.layers = Array.from({ length: config.layers }, () => new DecoderLayer(config));
    this.norm = new nn.RMSNorm(config.hiddenSize, config.rmsNormEps);
  }
}
