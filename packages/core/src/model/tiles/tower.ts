/**
 * The vision tower: every tile by itself, learned positions, full attention within a tile; then a pixel shuffle and one
 * matrix. Names of fields below `patch_embed`, `blocks` and `merger` are the checkpoint's keys.
 */
import { arange, nn, scope, tensor, type Tensor } from '@visurf/torch';

import { invariant } from '../../errors.ts';
import type { Kept } from '../kept.ts';
import { Projection } from '../projection.ts';
import { sequencesOf, type Sequences } from '../sequences.ts';
import { keepingInputs, onStream, type RunStage } from '../stage.ts';
import type { Encoded, Tower } from '../tower.ts';
import type { VisionConfig } from '../vision-config.ts';
import type { Grid } from '../../types.ts';
import type { TileVision } from './config.ts';
import { attendWithin, PatchConvolution, squares, TileMlp } from './parts.ts';

const { fround } = Math;

/**
 * The row (or column) of the table for each of so many patches along a side, from the fraction of the side that lies
 * before it; in float32, whose rounding decides where a fraction meets the border of a bucket.
 */
export function buckets(patches: number, side: number): number[] {
  const borders = scope(() => arange(1 / side, 1, 1 / side, { dtype: 'float32', device: 'cpu' }).toFloat32Array());
  const step = fround(1 / patches);
  return Array.from({ length: patches }, (_, i) => {
    const fraction = Math.min(fround(i * step), fround(1 - 1e-6));
    return borders.reduce((passed, border) => passed + Number(border <= fraction), 0);
  });
}

class Embeddings extends nn.Module {
  readonly patch_embedding: PatchConvolution;
  readonly position_embedding: nn.Embedding;
  readonly _config: TileVision;

  constructor(config: TileVision) {
    super();
    this._config = config;
    this.patch_embedding = new PatchConvolution(config);
    this.position_embedding = new nn.Embedding(config.positionSide ** 2, config.hiddenSize);
  }

  /** Values of so many tiles [t, channels, side, side], flat, to [t * h * w, D]; what fills no patch is left out. */
  forward(pixels: Tensor, tiles: number, h: number, w: number): Tensor {
    const { positionSide, hiddenSize } = this._config;
    const [rows, columns] = [buckets(h, positionSide), buckets(w, positionSide)];
    const places = rows.flatMap((row) => columns.map((column) => row * positionSide + column));
    const positions = this.position_embedding.forward(tensor(places, { dtype: 'int64' }));
    return this.patch_embedding.forward(pixels, tiles, h, w).add(positions).view(-1, hiddenSize);
  }
}

/** What a block keeps, per patch: the stream before both norms, q, k, v; what products read; the feed-forward layer. */
export const keptByBlock = ({ hiddenSize: width, intermediateSize: inner }: VisionConfig): Kept => ({
  stream: 2 * width,
  attention: 4 * width,
  products: 4 * width + 2 * inner,
});

class Attention extends nn.Module {
  readonly q_proj: Projection;
  readonly k_proj: Projection;
  readonly v_proj: Projection;
  readonly out_proj: Projection;
  readonly _heads: number;

  constructor({ hiddenSize, heads }: VisionConfig) {
    super();
    const projection = (): Projection => new Projection(hiddenSize, hiddenSize);
    this.q_proj = projection();
    this.k_proj = projection();
    this.v_proj = projection();
    this.out_proj = projection();
    this._heads = heads;
  }

  /** x [t * n, D], of t tiles of n patches */
  forward(x: Tensor, patches: number, sequences: Sequences): Tensor {
    const qkv = [this.q_proj, this.k_proj, this.v_proj].map((each) => each.forward(x));
    const how = { rows: patches, heads: this._heads, precision: this.q_proj._precision, dtype: x.dtype, sequences };
    return this.out_proj.forward(attendWithin(qkv, how));
  }
}

class Block extends nn.Module {
  readonly layer_norm1: nn.LayerNorm;
  readonly self_attn: Attention;
  readonly layer_norm2: nn.LayerNorm;
  readonly mlp: TileMlp;
  constructor(config: TileVision) {
    super();
    this.layer_norm1 = new nn.LayerNorm(config.hiddenSize, config.normEps);
    this.self_attn = new Attention(config);
    this.layer_norm2 = new nn.LayerNorm(config.hiddenSize, config.normEps);
    this.mlp = new TileMlp(config, 'tanh');
  }
  forward(x: Tensor, patches: number, sequences: Sequences): Tensor {
    const attended = x.add(this.self_attn.forward(this.layer_norm1.forward(x), patches, sequences));
    return attended.add(this.mlp.forward(this.layer_norm2.forward(attended)));
  }
}

/** Joins squares of patches into one token of the decoder each (a pixel shuffle): one matrix, without bias. */
class Merger extends nn.Module {
  readonly proj: Projection;
  readonly _side: number;
  constructor({ hiddenSize, outHiddenSize, spatialMergeSize }: VisionConfig) {
    super();
    this._side = spatialMergeSize;
    this.proj = new Projection(hiddenSize * spatialMergeSize ** 2, outHiddenSize, { bias: false });
  }
  /** [t * h * w, D] to [t * h * w / side^2, out]: a token holds the rows of its square, patch by patch. */
  forward(x: Tensor, h: number, w: number): Tensor {
    return this.proj.forward(squares(x, h, w, this._side));
  }
}

export class TileTower extends nn.Module implements Tower {
  readonly patch_embed: Embeddings;
  readonly blocks: readonly Block[];
  readonly post_layernorm: nn.LayerNorm;
  readonly merger: Merger;

  constructor(config: VisionConfig) {
    super();
    invariant(isTileVision(config), 'the configuration is one of this family');
    this.patch_embed = new Embeddings(config);
    this.blocks = Array.from({ length: config.depth }, () => new Block(config));
    this.post_layernorm = new nn.LayerNorm(config.hiddenSize, config.normEps);
    this.merger = new Merger(config);
  }

  encode(pixels: Tensor, grids: readonly Grid[], run: RunStage = keepingInputs, stream = pixels.dtype): Encoded {
    const [first] = grids;
    invariant(first, 'there is an image');
    const [, h, w] = first;
    const tiles = grids.reduce((sum, [t]) => sum + t, 0);
    const sequences = sequencesOf(Array<number>(tiles).fill(h * w));
    let flow = run(
      onStream((x) => this.patch_embed.forward(x, tiles, h, w).to(stream)),
      [pixels],
      [this.patch_embed],
    );
    for (const block of this.blocks) {
      flow = run(
        onStream((x) => block.forward(x, h * w, sequences)),
        flow,
        [block],
      );
    }
    const merge = (x: Tensor): Tensor => this.merger.forward(this.post_layernorm.forward(x), h, w);
    return { patches: flow[0], features: run(onStream(merge), flow, [this.post_layernorm, this.merger]) };
  }
}

const isTileVision = (config: VisionConfig): config is TileVision => 'positionSide' in config && 'normEps' in config;
