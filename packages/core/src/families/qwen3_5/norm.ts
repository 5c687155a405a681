import { functional, nn, type Tensor } from '@visurf/torch';

/** x / sqrt(mean(x^2) + eps) * (1 + w) over the last dimension: weights are kept as what they differ from 1. */
export class OffsetNorm extends nn.RMSNorm {
  override forward(x: Tensor): Tensor {
    return functional.rmsNorm(x, this.weight.add(1), this.eps);
  }
}
