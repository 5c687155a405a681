/**
 * The parts in which the vision towers differ. Qwen2-VL: LayerNorm and a two-layer MLP with QuickGELU; Qwen2.5-VL: RMSNorm
 * and SwiGLU. (That Qwen2-VL has no windows is a matter of its config.) Field names are the checkpoint's keys.
 */
import { nn, type Tensor } from '@visurf/torch';

import { Projection, projectGated } from './projection.ts';
import type { VisionConfig, VisionFamily } from './vision-config.ts';

const normEps = 1e-6; // fixed in the reference, whatever the config says

export interface Layer extends nn.Module {
  forward(x: Tensor): Tensor;
}

/** down(silu(gate(x)) * up(x)) */
class SwiGlu extends nn.Module {
  readonly gate_proj: Projection;
  readonly up_proj: Projection;
  readonly down_proj: Projection;

  constructor({ hiddenSize, intermediateSize }: VisionConfig) {
    super();
    this.gate_proj = new Projection(hiddenSize, intermediateSize);
    this.up_proj = new Projection(hiddenSize, intermediateSize);
    this.down_proj = new Projection(intermediateSize, hiddenSize);
  }
  forward(x: Tensor): Tensor {
    return this.down_proj.forward(projectGated(this.gate_proj, this.up_proj, x));
  }
}

/** fc2(h sigmoid(1.702 h)) with h = fc1(x) */
class QuickGeluMlp extends nn.Module {
  readonly fc1: Projection;
  readonly fc2: Projection;

  constructor({ hiddenSize, intermediateSize }: VisionConfig) {
    super();
    this.fc1 = new Projection(hiddenSize, intermediateSize);
    this.fc2 = new Projection(intermediateSize, hiddenSize);
  }
  forward(x: Tensor): Tensor {
    const hidden = this.fc1.forward(x);
    return this.fc2.forward(hidden.mul(hidden.mul(1.702).sigmoid()));
  }
}

interface Parts {
  readonly norm: (width: number) => Layer;
  readonly mlp: (config: VisionConfig) => Layer;
}

export const visionParts: Record<VisionFamily, Parts> = {
  qwen2_vl: {
    norm: (width) => new nn.LayerNorm(width, normEps),
    mlp: (config) => new QuickGeluMlp(config),
  },
  qwen2_5_vl: {
    norm: (width) => new nn.RMSNorm(width, normEps),
    mlp: (config) => new SwiGlu(config),
  },
};
