/** A layer of the decoder: a Gated DeltaNet or gated attention, then SwiGLU. Field names are the checkpoint's keys. */
import { nn, type functional, type Tensor } from '@visurf/torch';

import type { Layout, NextPlace } from '../../model/attention.ts';
import { Mlp, placesFrom, type DecoderBlock } from '../../model/decoder.ts';
import { forkKeys, keyed, recurrent, type LayerState } from '../../model/layer-state.ts';
import type { SharedPlace } from '../../model/shared-decoding.ts';
import type { Projection } from '../../model/projection.ts';
import type { Rotation } from '../../model/rope.ts';
import type { TextConfig } from '../../model/text-config.ts';
import { GatedAttention } from './attention.ts';
import { GatedDeltaNet } from './delta-net.ts';
import { OffsetNorm } from './norm.ts';

abstract class Layer extends nn.Module implements DecoderBlock {
  readonly input_layernorm: OffsetNorm;
  readonly post_attention_layernorm: OffsetNorm;
  readonly mlp: Mlp;
  readonly _whole: functional.DecoderWeights | undefined;

  constructor(config: TextConfig) {
    super();
    this.input_layernorm = new OffsetNorm(config.hiddenSize, config.rmsNormEps);
    this.post_attention_layernorm = new OffsetNorm(config.hiddenSize, config.rmsNormEps);
    this.mlp = new Mlp(config);
    this._whole = undefined;
  }

  abstract prefill(x: Tensor, rotation: Rotation, layout: Layout, from: number): [Tensor, LayerState];
  abstract packed(x: Tensor, rotation: Rotation, layout: Layout, from: number): Tensor;
  abstract fork(prefix: LayerState, responses: number, tokens: number): LayerState;
  abstract decode(...step: Parameters<DecoderBlock['decode']>): Tensor;
  protected abstract get _mixers(): readonly Projection[];

  startDecoding(pack: boolean): void {
    const { gate_proj, up_proj, down_proj } = this.mlp;
    for (const each of [...this._mixers, gate_proj, up_proj, down_proj]) each._pack = pack;
  }
  endDecoding(): void {
    // Packed weights are those of the projections.
  }

  /** The stream behind the layer, of x [B, S, D] before it and what its first half gives for the places from `from` on. */
  protected _join(x: Tensor, from: number, mixed: Tensor): Tensor {
    const stream = placesFrom(x, from).add(mixed);
    return stream.add(this.mlp.forward(this.post_attention_layernorm.forward(stream)));
  }
}

export class LinearLayer extends Layer {
  readonly linear_attn: GatedDeltaNet;

  constructor(config: TextConfig) {
    super(config);
    if (!config.recurrent) throw new Error('a recurrent layer has a shape');
    this.linear_attn = new GatedDeltaNet(config, config.recurrent);
  }
  protected override get _mixers(): readonly Projection[] {
    return this.linear_attn.projections;
  }
  override prefill(x: Tensor, _rotation: Rotation, layout: Layout, from: number): [Tensor, LayerState] {
    const [mixed, state] = this.linear_attn.prefill(this.input_layernorm.forward(x), layout, from);
    return [this._join(x, from, mixed), state];
  }
  override packed(x: Tensor, _rotation: Rotation, layout: Layout, from: number): Tensor {
    return this._join(x, from, this.linear_attn.packed(this.input_layernorm.forward(x), layout, from));
  }
  override fork(prefix: LayerState, responses: number): LayerState {
    return this.linear_attn.fork(recurrent(prefix), responses);
  }
  override decode(x: Tensor, _rotation: Rotation, _prefix: LayerState, own: LayerState): Tensor {
    return this._join(x, 0, this.linear_attn.decode(this.input_layernorm.forward(x), recurrent(own)));
  }
}

export class FullLayer extends Layer {
  readonly self_attn: GatedAttention;

  constructor(config: TextConfig) {
    super(config);
    this.self_attn = new GatedAttention(config);
  }
  protected override get _mixers(): readonly Projection[] {
    return this.self_attn.projections;
  }
  override prefill(x: Tensor, rotation: Rotation, layout: Layout, from: number): [Tensor, LayerState] {
    const [mixed, state] = this.self_attn.prefill(this.input_layernorm.forward(x), rotation, layout, from);
    return [this._join(x, from, mixed), state];
  }
  override packed(x: Tensor, rotation: Rotation, layout: Layout, from: number): Tensor {
    return this._join(x, from, this.self_attn.packed(this.input_layernorm.forward(x), rotation, layout, from));
  }
  override fork(prefix: LayerState, responses: number, tokens: number): LayerState {
    return forkKeys(keyed(prefix), responses, tokens);
  }
  override decode(
    x: Tensor,
    rotation: Rotation,
    prefix: LayerState,
    own: LayerState,
    at: number | NextPlace | SharedPlace,
    padding: Tensor | undefined,
  ): Tensor {
    const normed = this.input_layernorm.forward(x);
    return this._join(x, 0, this.self_attn.decode(normed, rotation, prefix, own, at, padding));
  }
}
