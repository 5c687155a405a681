/**
 * Grouped-query attention with a gate, norms of queries and keys, and rotary positions on some of a head's channels. Field
 * names are the checkpoint's keys.
 */
import { cat, functional, nn, type Tensor } from '@visurf/torch';

import { packedAttention, type Layout, type NextPlace } from '../../model/attention.ts';
import { keysToDecode, placesFrom, rotationFrom } from '../../model/decoder.ts';
import { keyed, type LayerState } from '../../model/layer-state.ts';
import { Projection, projectTogether } from '../../model/projection.ts';
import { rotate, type Rotation } from '../../model/rope.ts';
import { attendPlaced, type SharedPlace } from '../../model/shared-decoding.ts';
import type { TextConfig } from '../../model/text-config.ts';
import { OffsetNorm } from './norm.ts';

interface Projected {
  /** [B, S - from, H, d] */
  readonly q: Tensor;
  /** [B, S, KV, d] */
  readonly k: Tensor;
  readonly v: Tensor;
  /** [B, S - from, H d] */
  readonly gate: Tensor;
}

export class GatedAttention extends nn.Module {
  readonly q_proj: Projection;
  readonly k_proj: Projection;
  readonly v_proj: Projection;
  readonly o_proj: Projection;
  readonly q_norm: OffsetNorm;
  readonly k_norm: OffsetNorm;
  readonly _config: TextConfig;

  constructor(config: TextConfig) {
    super();
    const { hiddenSize, heads, keyValueHeads, headSize, rmsNormEps, attentionBias: bias } = config;
    const plain = { bias };
    this._config = config;
    // Of every head, its query and then its gate.
    this.q_proj = new Projection(hiddenSize, 2 * heads * headSize, plain);
    this.k_proj = new Projection(hiddenSize, keyValueHeads * headSize, plain);
    this.v_proj = new Projection(hiddenSize, keyValueHeads * headSize, plain);
    this.o_proj = new Projection(heads * headSize, hiddenSize, plain);
    this.q_norm = new OffsetNorm(headSize, rmsNormEps);
    this.k_norm = new OffsetNorm(headSize, rmsNormEps);
  }

  get projections(): readonly Projection[] {
    return [this.q_proj, this.k_proj, this.v_proj, this.o_proj];
  }

  prefill(x: Tensor, rotation: Rotation, layout: Layout, from: number): [Tensor, LayerState] {
    const { q, k, v, gate } = this.#project(x, from);
    const keys = rotate(k, rotation);
    const attended = this.#attend(q, keys, v, rotation, layout, from);
    return [this.#finish(attended, gate), keysToDecode(keys, v)];
  }

  packed(x: Tensor, rotation: Rotation, layout: Layout, from: number): Tensor {
    const { q, k, v, gate } = this.#project(x, from);
    return this.#finish(this.#attend(q, rotate(k, rotation), v, rotation, layout, from), gate);
  }

  decode(
    x: Tensor,
    rotation: Rotation,
    prefix: LayerState,
    own: LayerState,
    at: number | NextPlace | SharedPlace,
    padding: Tensor | undefined,
  ): Tensor {
    const { q, k, v, gate } = this.#project(x, 0);
    const states = [keyed(prefix), keyed(own)] as const;
    const attended =
      typeof at === 'number'
        ? functional.decodeAttention([q, k, v], rotation, ...states, at, padding)
        : attendPlaced(cat([q, k, v], 2), this._config.keyValueHeads, rotation, ...states, at);
    return this.#finish(attended, gate);
  }

  /** Of x [B, S, D], normed but not yet rotated, in the precision of attention. */
  #project(x: Tensor, from: number): Projected {
    const { heads, keyValueHeads, headSize } = this._config;
    const [asked, keys, values] =
      from === 0
        ? projectTogether([this.q_proj, this.k_proj, this.v_proj], x)
        : [this.q_proj.forward(placesFrom(x, from)), ...projectTogether([this.k_proj, this.v_proj], x)];
    const { dtype } = this.q_norm.weight;
    const split = (each: Tensor, count: number): Tensor => each.to(dtype).view(each.size(0), each.size(1), count, -1);
    const [query, gate] = split(asked!, heads).split([headSize, headSize], -1) as [Tensor, Tensor];
    return {
      q: this.#ordered(this.q_norm.forward(query)),
      k: this.#ordered(this.k_norm.forward(split(keys!, keyValueHeads))),
      v: split(values!, keyValueHeads),
      gate: gate.reshape(gate.size(0), gate.size(1), -1),
    };
  }

  /**
   * Channels of heads in another order, the same for queries and keys, in which those that turn together lie half a head
   * apart: a rotation of the whole head then leaves alone those that have no position.
   */
  #ordered(x: Tensor): Tensor {
    const { headSize, rotarySize = headSize } = this._config;
    if (rotarySize === headSize) return x;
    const [turned, rest] = [rotarySize / 2, (headSize - rotarySize) / 2];
    const [first, second, third, fourth] = x.split([turned, turned, rest, rest], -1) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    return cat([first, third, second, fourth], -1);
  }

  #attend(q: Tensor, k: Tensor, v: Tensor, rotation: Rotation, layout: Layout, from: number): Tensor {
    const asked = from === 0 ? rotation : rotationFrom(rotation, from);
    return packedAttention([rotate(q, asked), k, v], layout, this.q_proj._precision);
  }

  #finish(attended: Tensor, gate: Tensor): Tensor {
    return this.o_proj.forward(attended.to(gate.dtype).mul(gate.sigmoid()));
  }
}
