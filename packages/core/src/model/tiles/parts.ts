/** What towers that see an image tile by tile have in common. */
import { functional, nn, type DType, type Tensor } from '@visurf/torch';

import { Projection, type Precision } from '../projection.ts';
import { flashAttention, hasFlashAttention, type Sequences } from '../sequences.ts';
import type { VisionConfig } from '../vision-config.ts';

/** A convolution whose kernel is its stride: one product of the flattened patch. */
export class PatchConvolution extends nn.Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly _config: VisionConfig;
  constructor(config: VisionConfig) {
    super();
    const { hiddenSize, inChannels, patchSize } = config;
    this._config = config;
    this.weight = nn.parameter([hiddenSize, inChannels, patchSize, patchSize]);
    this.bias = nn.parameter([hiddenSize]);
  }

  /** Values of so many square tiles [t, channels, side, side], flat, to [t, h * w, D]; what fills no patch is left out. */
  forward(pixels: Tensor, tiles: number, h: number, w: number): Tensor {
    const { hiddenSize, inChannels, patchSize: p } = this._config;
    const side = Math.sqrt(pixels.numel / (tiles * inChannels));
    const cut = pixels
      .view(tiles, inChannels, side, side)
      .narrow(2, 0, h * p)
      .narrow(3, 0, w * p);
    const patches = cut
      .reshape(tiles, inChannels, h, p, w, p)
      .permute(0, 2, 4, 1, 3, 5)
      .reshape(tiles * h * w, inChannels * p * p);
    return functional.linear(patches, this.weight.view(hiddenSize, -1), this.bias).view(tiles, h * w, hiddenSize);
  }
}

/** How a block attends within tiles. */
interface Within {
  /** Rows of a tile. */
  readonly rows: number;
  readonly heads: number;
  readonly precision: Precision;
  /** Of what attends, where no kernel of its own does. */
  readonly dtype: DType;
  readonly sequences: Sequences;
}

/** Queries, keys and values [t * rows, D] to what every row has read of its own tile, [t * rows, D]. */
export function attendWithin(qkv: readonly Tensor[], { rows, heads, precision, dtype, sequences }: Within): Tensor {
  const [all, width] = [qkv[0]!.size(0), qkv[0]!.size(1)];
  const size = width / heads;
  if (hasFlashAttention(qkv[0]!.device, precision, size)) {
    const [q, k, v] = qkv.map((each) => each.view(all, heads, size)) as [Tensor, Tensor, Tensor];
    return flashAttention([q, k, v], sequences, false).reshape(all, width);
  }
  const [q, k, v] = qkv.map((each) => each.to(dtype).view(-1, rows, heads, size).transpose(1, 2)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  return functional.scaledDotProductAttention(q, k, v).transpose(1, 2).reshape(all, width);
}

export class TileMlp extends nn.Module {
  readonly fc1: Projection;
  readonly fc2: Projection;
  readonly _gelu: 'none' | 'tanh';
  /** @param gelu how it is approximated */
  constructor({ hiddenSize, intermediateSize }: VisionConfig, gelu: 'none' | 'tanh') {
    super();
    this.fc1 = new Projection(hiddenSize, intermediateSize);
    this.fc2 = new Projection(intermediateSize, hiddenSize);
    this._gelu = gelu;
  }
  forward(x: Tensor): Tensor {
    return this.fc2.forward(this.fc1.forward(x).gelu(this._gelu));
  }
}

/** A pixel shuffle: [t, h * w, D] to [t * h * w / s^2, s^2 * D], where a row holds those of its square, patch by patch. */
export function squares(x: Tensor, h: number, w: number, s: number): Tensor {
  const width = x.size(-1);
  const parts = x.reshape(-1, h / s, s, w / s, s, width).permute(0, 1, 3, 2, 4, 5);
  return parts.reshape(-1, s * s * width);
}
