import { nn, type Tensor } from '@visurf/torch';
import { QuickGeluMlp } from '../../../packages/core/src/families/qwen2_vl/mlp.ts';
import { qwen2Vl } from '../../../packages/core/src/families/qwen2_vl/index.ts';
import type { Family } from '../../../packages/core/src/model/family.ts';
import { VisionTower } from '../../../packages/core/src/model/vision.ts';

/** fc2(relu(fc1(x))^2). */
class SquaredReluMlp extends QuickGeluMlp {
  override forward(x: Tensor): Tensor {
    const hidden = this.fc1.forward(x).relu();
    return this.fc2.forward(hidden.mul(hidden));
  }
}

/** A family of the tests: Qwen2-VL with another activation in its tower, and places in pixels of the resized image. */
export const otherVl: Family = {
  ...qwen2Vl,
  name: 'other_vl',
  title: 'Other-VL',
  coordinates: 'resized',
  tower: (config) =>
    new VisionTower(config, {
      norm: (width) => new nn.LayerNorm(width, 1e-6),
      mlp: (each) => new SquaredReluMlp(each),
    }),
};
