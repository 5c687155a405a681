/**
 * A vision tower whose blocks see whole frames: learned positions, interpolated to the grid of each image and added to
 * its patches; LayerNorm and a two-layer MLP with tanh-GELU; outputs of some blocks are merged, too, for the first layers
 * of the decoder (DeepStack, arXiv 2406.04334). Field names are the checkpoint's keys.
 */
import { functional, nn, tensor, type Tensor } from '@visurf/torch';

import type { Grid } from '../types.ts';
import { interpolated, type Taps } from './interpolation.ts';
import { Projection } from './projection.ts';
import { keepingInputs, onStream, type Flow, type RunStage } from './stage.ts';
import type { Encoded, Tower } from './tower.ts';
import type { VisionConfig } from './vision-config.ts';
import { PatchEmbed, planVision, VisionBlock } from './vision.ts';

const normEps = 1e-6; // fixed in the reference, whatever the config says

/** fc2(gelu(fc1(x))), by the tanh form. */
class GeluMlp extends nn.Module {
  readonly linear_fc1: Projection;
  readonly linear_fc2: Projection;

  constructor({ hiddenSize, intermediateSize }: VisionConfig) {
    super();
    this.linear_fc1 = new Projection(hiddenSize, intermediateSize);
    this.linear_fc2 = new Projection(intermediateSize, hiddenSize);
  }
  forward(x: Tensor): Tensor {
    return this.linear_fc2.forward(this.linear_fc1.forward(x).gelu('tanh'));
  }
}

/** Joins each merge unit into one token of the decoder: LayerNorm before or after joining, then an MLP with exact GELU. */
class Merger extends nn.Module {
  readonly norm: nn.LayerNorm;
  readonly linear_fc1: Projection;
  readonly linear_fc2: Projection;
  readonly _width: number;

  constructor(
    { hiddenSize, outHiddenSize, spatialMergeSize }: VisionConfig,
    { normsJoined }: { normsJoined: boolean },
  ) {
    super();
    this._width = hiddenSize * spatialMergeSize ** 2;
    this.norm = new nn.LayerNorm(normsJoined ? this._width : hiddenSize, normEps);
    this.linear_fc1 = new Projection(this._width, this._width);
    this.linear_fc2 = new Projection(this._width, outHiddenSize);
  }
  /** [N, D] to [N / unit, out] */
  forward(x: Tensor): Tensor {
    const units = this.norm.forward(x.view(-1, this.norm.weight.size(0))).view(-1, this._width);
    return this.linear_fc2.forward(this.linear_fc1.forward(units).gelu());
  }
}

export class DeepVisionTower extends nn.Module implements Tower {
  readonly patch_embed: PatchEmbed;
  readonly pos_embed: nn.Embedding;
  readonly blocks: readonly VisionBlock[];
  readonly merger: Merger;
  readonly deepstack_merger_list: readonly Merger[];
  readonly _config: VisionConfig;
  /** Rows of the square table of positions. */
  readonly _side: number;
  /** Blocks that are merged for the decoder, in the order of their mergers. */
  readonly _deepstack: readonly number[];

  constructor(config: VisionConfig) {
    super();
    const { positionSide: side = 0, deepstack = [] } = config;
    [this._config, this._side, this._deepstack] = [config, side, deepstack];
    this.patch_embed = new PatchEmbed(config, { bias: true });
    this.pos_embed = new nn.Embedding(side * side, config.hiddenSize);
    this.blocks = Array.from(
      { length: config.depth },
      () =>
        new VisionBlock(config, {
          norm: (width) => new nn.LayerNorm(width, normEps),
          mlp: (each) => new GeluMlp(each),
        }),
    );
    this.merger = new Merger(config, { normsJoined: false });
    this.deepstack_merger_list = deepstack.map(() => new Merger(config, { normsJoined: true }));
  }

  /** Patches stay in the order in which they come. */
  encode(pixels: Tensor, grids: readonly Grid[], run: RunStage = keepingInputs, stream = pixels.dtype): Encoded {
    const { rotation, frames } = planVision(grids, this._config, pixels.dtype);
    const taps = interpolated(grids, this._side, this._config.spatialMergeSize);
    const embed = (patches: Tensor): Tensor =>
      this.patch_embed.forward(patches).add(this.#positions(taps, patches)).to(stream);
    let flow = run(onStream(embed), [pixels], [this.patch_embed, this.pos_embed]);
    this.blocks.forEach((block, i) => {
      const merger = this.deepstack_merger_list[this._deepstack.indexOf(i)];
      const stage = ([x, ...before]: Flow): Flow => {
        const after = block.forward(x, rotation, frames);
        return [after, ...before, ...(merger ? [merger.forward(after)] : [])];
      };
      flow = run(stage, flow, merger ? [block, merger] : [block]);
    });
    return {
      patches: flow[0],
      features: run(
        onStream((x) => this.merger.forward(x)),
        flow,
        [this.merger],
      ),
    };
  }

  /** [N, D]: the sum of weighted rows of the table; a tap at a time, for they are as large as the stream. */
  #positions(taps: readonly Taps[], { dtype }: Tensor): Tensor {
    const { weight: table } = this.pos_embed;
    const parts = taps.map(({ rows, weights }) => {
      const scale = tensor(weights, { shape: [weights.length, 1] }).to(dtype);
      return functional.embedding(table, tensor(rows, { dtype: 'int64' })).mul(scale);
    });
    return parts.reduce((sum, part) => sum.add(part));
  }
}
