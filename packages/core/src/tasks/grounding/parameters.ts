/** Parameters of the grounding task. */
import { z } from 'zod';

const weight = z.number().nonnegative().optional();

export const groundingParameters = z.strictObject({
  /** Whether answers hold points beside boxes; `auto`: they do if any label has one. */
  points: z.union([z.literal('auto'), z.boolean()]).default('auto'),
  /** Ours, or a published one with its prompt and its form of the answer; `published` was the first one's name. */
  reward: z
    .preprocess(
      (value) => (value === 'published' ? 'visionreasoner' : value),
      z.enum(['default', 'visionreasoner', 'seg-zero', 'vlm-r1']),
    )
    .default('default'),
  /** What is left out takes the value that belongs to the reward (`DEFAULT_WEIGHTS`). */
  weights: z
    .strictObject({ thinking: weight, format: weight, accuracy: weight, nonRepeat: weight, mask: weight })
    .default({}),
  /** `sam2` draws masks of what an answer points at, and compares them with the field `mask` of the sample. */
  masks: z.enum(['none', 'sam2']).default('none'),
  /** Its export: a directory, or a model of the hub. */
  sam2: z.string().default('onnx-community/sam2.1-hiera-tiny-ONNX'),
  /** A box hits where its IoU with the true box is greater. */
  iouThreshold: z.number().min(0).max(1).default(0.5),
  /** Mean absolute error of the four coordinates below which a box is exact; pixels of the original image. */
  boxError: z.number().positive().default(10),
  /** Distance below which a point is right; pixels of the original image. */
  pointError: z.number().positive().default(30),
});

/** What goes without saying of them. */
export const unsaidOfGrounding = {
  points: 'auto',
  reward: 'default',
  masks: 'none',
  sam2: 'onnx-community/sam2.1-hiera-tiny-ONNX',
  iouThreshold: 0.5,
  boxError: 10,
  pointError: 30,
} as const;

export type GroundingParameters = z.output<typeof groundingParameters>;

/** What the accuracy of one object is measured with. */
export type Thresholds = Pick<GroundingParameters, 'iouThreshold' | 'boxError' | 'pointError'>;

/**
 * Thinking weighs less than the smallest step in accuracy that should teach, so that a right label without a thought
 * beats a wrong rollout with one. Published rewards add their terms up; VLM-R1's mark for the format is one for the thought
 * as well.
 */
export const DEFAULT_WEIGHTS = {
  default: { thinking: 0.5, format: 1, accuracy: 1, nonRepeat: 0 },
  visionreasoner: { thinking: 1, format: 1, accuracy: 1, nonRepeat: 1 },
  'seg-zero': { thinking: 1, format: 1, accuracy: 1, nonRepeat: 0 },
  'vlm-r1': { thinking: 1, format: 0, accuracy: 1, nonRepeat: 0 },
} as const;
