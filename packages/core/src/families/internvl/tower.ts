/**
 * The vision tower: every tile by itself behind a class token, learned positions, full attention within a tile, both
 * halves of a block scaled by channel; then a pixel shuffle, a norm and two matrices. Names of fields below `patch_embed`,
 * `blocks` and `merger` are the checkpoint's keys.
 */
import { cat, nn, type Tensor } from '@visurf/torch';

import { invariant } from '../../errors.ts';
import type { Kept } from '../../model/kept.ts';
import { Projection } from '../../model/projection.ts';
import { sequencesOf, type Sequences } from '../../model/sequences.ts';
import { keepingInputs, onStream, type RunStage } from '../../model/stage.ts';
import { attendWithin, PatchConvolution, squares, TileMlp } from '../../model/tiles/parts.ts';
import type { Encoded, Tower } from '../../model/tower.ts';
import type { VisionConfig } from '../../model/vision-config.ts';
import type { Grid } from '../../types.ts';
import { isInternVision, type InternVision } from './config.ts';

/** Fixed in the reference, whatever the config says. */
const queryKeyEps = 1e-6;
const mergerEps = 1e-5;

/** What a block keeps, per patch: the stream before both norms, q, k, v, what is scaled; what products read. */
export const keptByBlock = ({ hiddenSize: width, intermediateSize: inner }: VisionConfig): Kept => ({
  stream: 4 * width,
  attention: 4 * width,
  products: 4 * width + 2 * inner,
});

/** A module in a field of its own, as keys have it. */
class Patches extends nn.Module {
  readonly projection: PatchConvolution;
  constructor(config: VisionConfig) {
    super();
    this.projection = new PatchConvolution(config);
  }
}

class Embeddings extends nn.Module {
  readonly cls_token: Tensor;
  readonly position_embeddings: Tensor;
  readonly patch_embeddings: Patches;
  readonly _config: InternVision;

  constructor(config: InternVision) {
    super();
    this._config = config;
    this.cls_token = nn.parameter([1, 1, config.hiddenSize]);
    this.position_embeddings = nn.parameter([1, config.positionSide ** 2 + 1, config.hiddenSize]);
    this.patch_embeddings = new Patches(config);
  }

  /** Values of so many tiles [t, channels, side, side], flat, to [t * (1 + patches), D]. */
  forward(pixels: Tensor, tiles: number): Tensor {
    const { positionSide: n, hiddenSize } = this._config;
    const embedded = this.patch_embeddings.projection.forward(pixels, tiles, n, n);
    const rows = cat([this.cls_token.expand(tiles, 1, hiddenSize), embedded], 1).add(this.position_embeddings);
    return rows.view(-1, hiddenSize);
  }
}

const normOf = ({ norm, hiddenSize, normEps }: InternVision): nn.LayerNorm | nn.RMSNorm =>
  norm === 'layer_norm' ? new nn.LayerNorm(hiddenSize, normEps) : new nn.RMSNorm(hiddenSize, normEps);

class Attention extends nn.Module {
  readonly q_proj: Projection;
  readonly k_proj: Projection;
  readonly v_proj: Projection;
  readonly projection_layer: Projection;
  readonly q_norm: nn.RMSNorm | undefined;
  readonly k_norm: nn.RMSNorm | undefined;
  readonly _heads: number;

  constructor({ hiddenSize, heads, attentionBias: bias, queryKeyNorm }: InternVision) {
    super();
    const projection = (): Projection => new Projection(hiddenSize, hiddenSize, { bias });
    const norm = (): nn.RMSNorm | undefined => (queryKeyNorm ? new nn.RMSNorm(hiddenSize, queryKeyEps) : undefined);
    this.q_proj = projection();
    this.k_proj = projection();
    this.v_proj = projection();
    this.projection_layer = new Projection(hiddenSize, hiddenSize);
    this.q_norm = norm();
    this.k_norm = norm();
    this._heads = heads;
  }

  /** x [t * n, D], of t tiles of n rows */
  forward(x: Tensor, n: number, sequences: Sequences): Tensor {
    const q = this.#normed(this.q_proj.forward(x), this.q_norm);
    const k = this.#normed(this.k_proj.forward(x), this.k_norm);
    const v = this.v_proj.forward(x);
    const how = { rows: n, heads: this._heads, precision: this.q_proj._precision, dtype: x.dtype, sequences };
    return this.projection_layer.forward(attendWithin([q, k, v], how));
  }

  /** In the dtype in which it came. */
  #normed(x: Tensor, norm: nn.RMSNorm | undefined): Tensor {
    return norm ? norm.forward(x.to(norm.weight.dtype)).to(x.dtype) : x;
  }
}

class Block extends nn.Module {
  readonly layernorm_before: nn.LayerNorm | nn.RMSNorm;
  readonly attention: Attention;
  readonly lambda_1: Tensor;
  readonly layernorm_after: nn.LayerNorm | nn.RMSNorm;
  readonly mlp: TileMlp;
  readonly lambda_2: Tensor;

  constructor(config: InternVision) {
    super();
    this.layernorm_before = normOf(config);
    this.attention = new Attention(config);
    this.lambda_1 = nn.parameter([config.hiddenSize]);
    this.layernorm_after = normOf(config);
    this.mlp = new TileMlp(config, 'none');
    this.lambda_2 = nn.parameter([config.hiddenSize]);
  }
  forward(x: Tensor, n: number, sequences: Sequences): Tensor {
    const { dtype } = x;
    const attended = this.attention.forward(this.layernorm_before.forward(x), n, sequences).to(dtype);
    const after = x.add(attended.mul(this.lambda_1.to(dtype)));
    const thought = this.mlp.forward(this.layernorm_after.forward(after)).to(dtype);
    return after.add(thought.mul(this.lambda_2.to(dtype)));
  }
}

/** Joins squares of patches into one token of the decoder each; the class tokens go. */
class Merger extends nn.Module {
  readonly layer_norm: nn.LayerNorm;
  readonly linear_1: Projection;
  readonly linear_2: Projection;
  readonly _side: number;
  constructor({ hiddenSize, outHiddenSize, spatialMergeSize: side }: VisionConfig) {
    super();
    this._side = side;
    this.layer_norm = new nn.LayerNorm(hiddenSize * side ** 2, mergerEps);
    this.linear_1 = new Projection(hiddenSize * side ** 2, outHiddenSize);
    this.linear_2 = new Projection(outHiddenSize, outHiddenSize);
  }
  /** [t * (1 + n * n), D] to [t * n * n / side^2, out]: a token holds the rows of its square, patch by patch. */
  forward(x: Tensor, n: number): Tensor {
    const patches = x.view(-1, 1 + n * n, x.size(1)).narrow(1, 1, n * n);
    const joined = this.layer_norm.forward(squares(patches, n, n, this._side));
    return this.linear_2.forward(this.linear_1.forward(joined).gelu());
  }
}

export class InternVit extends nn.Module implements Tower {
  readonly patch_embed: Embeddings;
  readonly blocks: readonly Block[];
  readonly merger: Merger;
  readonly _side: number;

  constructor(config: VisionConfig) {
    super();
    invariant(isInternVision(config), 'the configuration is one of this family');
    this._side = config.positionSide;
    this.patch_embed = new Embeddings(config);
    this.blocks = Array.from({ length: config.depth }, () => new Block(config));
    this.merger = new Merger(config);
  }

  encode(pixels: Tensor, grids: readonly Grid[], run: RunStage = keepingInputs, stream = pixels.dtype): Encoded {
    const tiles = grids.reduce((sum, [t]) => sum + t, 0);
    const rows = 1 + this._side ** 2;
    const sequences = sequencesOf(Array<number>(tiles).fill(rows));
    let flow = run(
      onStream((x) => this.patch_embed.forward(x, tiles).to(stream)),
      [pixels],
      [this.patch_embed],
    );
    for (const block of this.blocks) {
      flow = run(
        onStream((x) => block.forward(x, rows, sequences)),
        flow,
        [block],
      );
    }
    const merge = (x: Tensor): Tensor => this.merger.forward(x, this._side);
    return { patches: flow[0], features: run(onStream(merge), flow, [this.merger]) };
  }
}
