/** A vision tower: patch embedding, windowed and full attention, patch merger. Field names are the checkpoint's keys. */
import { cat, functional, nn, tensor, type DType, type Tensor } from '@visurf/torch';

import type { Grid } from '../types.ts';
import type { Kept } from './kept.ts';
import { Projection } from './projection.ts';
import { rotate, visionRotation, type Rotation } from './rope.ts';
import { flashAttention, hasFlashAttention, sequencesOf, type Sequences } from './sequences.ts';
import { keepingInputs, onStream, type RunStage } from './stage.ts';
import type { Encoded, Tower } from './tower.ts';
import type { VisionConfig } from './vision-config.ts';
import { bucketByLength, invert, planWindows } from './windows.ts';

/** A layer that keeps the shape of the stream, or a merger. */
export interface Layer extends nn.Module {
  forward(x: Tensor): Tensor;
}

/** Parts in which towers of this build differ. */
export interface TowerParts {
  readonly norm: (width: number) => Layer;
  readonly mlp: (config: VisionConfig) => Layer;
}

/** What a block keeps, per patch: the stream before both norms, q, k, v; what products read; the feed-forward layer. */
export const keptByBlock = ({ hiddenSize: width, intermediateSize: inner }: VisionConfig): Kept => ({
  stream: 2 * width,
  attention: 4 * width,
  products: 4 * width + 3 * inner,
});

const indices = (values: readonly number[]): Tensor => tensor(values, { dtype: 'int64' });

/** Attention within runs of rows, one product per distinct length. */
interface Segments {
  readonly buckets: readonly {
    readonly length: number;
    readonly rows: Tensor | undefined;
  }[];
  /** Restores the order of the rows after several buckets. */
  readonly inverse: Tensor | undefined;
  /** The runs as they lie, for flash attention. */
  readonly sequences: Sequences;
}

/** Everything about a set of images that does not depend on the weights. */
export interface VisionPlan {
  readonly order: Tensor;
  readonly inverse: Tensor;
  readonly rotation: Rotation;
  readonly windows: Segments;
  readonly frames: Segments;
}

function segments(lengths: readonly number[]): Segments {
  const buckets = bucketByLength(lengths);
  const sequences = sequencesOf(lengths);
  if (buckets.length === 1) {
    return {
      sequences,
      buckets: buckets.map(({ length }) => ({ length, rows: undefined })),
      inverse: undefined,
    };
  }
  return {
    sequences,
    buckets: buckets.map(({ length, rows }) => ({
      length,
      rows: indices(rows),
    })),
    inverse: indices(invert(buckets.flatMap(({ rows }) => rows))),
  };
}

export function planVision(grids: readonly Grid[], config: VisionConfig, dtype: DType): VisionPlan {
  const plan = planWindows(grids, config);
  return {
    order: indices(plan.order),
    inverse: indices(invert(plan.order)),
    rotation: visionRotation(plan.positions, config, dtype),
    windows: segments(plan.windows),
    frames: segments(plan.frames),
  };
}

export class PatchEmbed extends nn.Module {
  /** Conv3d whose kernel is its stride: one product of the flattened patch. Its checkpoint key is `proj.weight`. */
  readonly proj: Kernel;

  constructor({ hiddenSize, inChannels, temporalPatchSize, patchSize }: VisionConfig, { bias = false } = {}) {
    super();
    this.proj = new Kernel([hiddenSize, inChannels, temporalPatchSize, patchSize, patchSize], bias);
  }
  /** N patches [channels * frames * side * side], one behind the other, to [N, D] */
  forward(pixels: Tensor): Tensor {
    const { weight, bias } = this.proj;
    const kernel = weight.view(weight.size(0), -1);
    return functional.linear(pixels.view(-1, kernel.size(1)), kernel, bias);
  }
}

class Kernel extends nn.Module {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  constructor(shape: readonly number[], bias: boolean) {
    super();
    this.weight = nn.parameter(shape);
    this.bias = bias ? nn.parameter([shape[0]!]) : undefined;
  }
}

class Attention extends nn.Module {
  readonly qkv: Projection;
  readonly proj: Projection;
  readonly _heads: number;

  constructor({ hiddenSize, heads }: VisionConfig) {
    super();
    this.qkv = new Projection(hiddenSize, 3 * hiddenSize);
    this.proj = new Projection(hiddenSize, hiddenSize);
    this._heads = heads;
  }
  /** x [N, D] */
  forward(x: Tensor, rotation: Rotation, { buckets, inverse, sequences }: Segments): Tensor {
    const [rows, width] = [x.size(0), x.size(1)];
    const [q, k, v] = this.qkv
      .forward(x)
      .view(rows, 3, this._heads, width / this._heads)
      .unbind(1) as [Tensor, Tensor, Tensor];
    const [rotatedQ, rotatedK] = [rotate(q, rotation), rotate(k, rotation)];
    if (hasFlashAttention(x.device, this.qkv._precision, q.size(2))) {
      return this.proj.forward(flashAttention([rotatedQ, rotatedK, v], sequences, false).reshape(rows, width));
    }
    const inputs = [rotatedQ, rotatedK, v.to(rotatedQ.dtype)];
    const parts = buckets.map(({ length, rows: chosen }) => {
      const [bq, bk, bv] = inputs.map((each) =>
        // [runs, heads, length, headSize]
        (chosen ? each.indexSelect(0, chosen) : each)
          .view(-1, length, this._heads, width / this._heads)
          .transpose(1, 2),
      ) as [Tensor, Tensor, Tensor];
      return functional.scaledDotProductAttention(bq, bk, bv).transpose(1, 2).reshape(-1, width);
    });
    const [first] = parts;
    const joined = inverse ? cat(parts).indexSelect(0, inverse) : first;
    return this.proj.forward(joined!);
  }
}

export class VisionBlock extends nn.Module {
  readonly norm1: Layer;
  readonly norm2: Layer;
  readonly attn: Attention;
  readonly mlp: Layer;

  constructor(config: VisionConfig, { norm, mlp }: TowerParts) {
    super();
    this.norm1 = norm(config.hiddenSize);
    this.norm2 = norm(config.hiddenSize);
    this.attn = new Attention(config);
    this.mlp = mlp(config);
  }
  forward(x: Tensor, rotation: Rotation, segments: Segments): Tensor {
    const attended = x.add(this.attn.forward(this.norm1.forward(x), rotation, segments));
    return attended.add(this.mlp.forward(this.norm2.forward(attended)));
  }
}

/** Joins each merge unit into one token of the decoder: norm, then an MLP with exact GELU. */
class PatchMerger extends nn.Module {
  readonly ln_q: Layer;
  /** `mlp.0` and `mlp.2`, as the checkpoint numbers them around the activation. */
  readonly mlp: readonly [Projection, undefined, Projection];
  readonly _width: number;

  constructor({ hiddenSize, outHiddenSize, spatialMergeSize }: VisionConfig, { norm }: TowerParts) {
    super();
    this._width = hiddenSize * spatialMergeSize ** 2;
    this.ln_q = norm(hiddenSize);
    this.mlp = [new Projection(this._width, this._width), undefined, new Projection(this._width, outHiddenSize)];
  }
  /** [N, D] to [N / unit, out] */
  forward(x: Tensor): Tensor {
    const units = this.ln_q.forward(x).view(-1, this._width);
    return this.mlp[2].forward(this.mlp[0].forward(units).gelu());
  }
}

export class VisionTower extends nn.Module implements Tower {
  readonly patch_embed: PatchEmbed;
  readonly blocks: readonly VisionBlock[];
  readonly merger: PatchMerger;
  readonly _config: VisionConfig;

  constructor(config: VisionConfig, parts: TowerParts) {
    super();
    this._config = config;
    this.patch_embed = new PatchEmbed(config);
    this.blocks = Array.from({ length: config.depth }, () => new VisionBlock(config, parts));
    this.merger = new PatchMerger(config, parts);
  }

  /** The stream after the last block is in window order. */
  encode(pixels: Tensor, grids: readonly Grid[], run: RunStage = keepingInputs, stream = pixels.dtype): Encoded {
    const plan = planVision(grids, this._config, pixels.dtype);
    const embed = (patches: Tensor): Tensor => {
      const unit = this._config.spatialMergeSize ** 2;
      const embedded = this.patch_embed.forward(patches);
      const width = embedded.size(1);
      return embedded.view(-1, unit, width).indexSelect(0, plan.order).view(-1, width).to(stream);
    };
    let flow = run(onStream(embed), [pixels], [this.patch_embed]);
    this.blocks.forEach((block, i) => {
      const rows = this._config.fullAttentionBlocks.has(i) ? plan.frames : plan.windows;
      flow = run(
        onStream((x) => block.forward(x, plan.rotation, rows)),
        flow,
        [block],
      );
    });
    const merge = (x: Tensor): Tensor => this.merger.forward(x).indexSelect(0, plan.inverse);
    return { patches: flow[0], features: run(onStream(merge), flow, [this.merger]) };
  }
}
