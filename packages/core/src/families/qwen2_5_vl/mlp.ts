import { nn, type Tensor } from '@visurf/torch';

import { Projection, projectGated } from '../../model/projection.ts';
import type { VisionConfig } from '../../model/vision-config.ts';

/** down(silu(gate(x)) * up(x)). Field names are the checkpoint's keys. */
export class SwiGlu extends nn.Module {
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
