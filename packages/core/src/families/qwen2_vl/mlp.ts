import { nn, type Tensor } from '@visurf/torch';

import { Projection } from '../../model/projection.ts';
import type { VisionConfig } from '../../model/vision-config.ts';

/** fc2(h sigmoid(1.702 h)) with h = fc1(x). Field names are the checkpoint's keys. */
export class QuickGeluMlp extends nn.Module {
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
