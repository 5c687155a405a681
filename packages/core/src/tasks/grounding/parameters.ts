/** Parameters of the grounding task. */
import { z } from 'zod';

const weight = z.number().nonnegative().optional();

export const groundingParameters = z.strictObject({
  /** Whether answers hold points beside boxes; `auto`: they do if any label has one. */
  points: z.union([z.literal('auto'), z.boolean()]).default('auto'),
  /** `published` is the reward of the VisionReasoner line, which gives an empty list no credit. */
  reward: z.enum(['default', 'published']).default('default'),
  /** What is left out takes the value that belongs to the reward (`DEFAULT_WEIGHTS`). */
  weights: z.strictObject({ thinking: weight, format: weight, accuracy: weight, nonRepeat: weight }).default({}),
  /** A box hits where its IoU with the true box is greater. */
  iouThreshold: z.number().min(0).max(1).default(0.5),
  /** Mean absolute error of the four coordinates below which a box is exact; pixels of the original image. */
  boxError: z.number().positive().default(10),
  /** Distance below which a point is right; pixels of the original image. */
  pointError: z.number().positive().default(30),
});

export type GroundingParameters = z.output<typeof groundingParameters>;

/** What the accuracy of one object is measured with. */
export type Thresholds = Pick<GroundingParameters, 'iouThreshold' | 'boxError' | 'pointError'>;

/**
 * Thinking weighs less than the smallest step in accuracy that should teach, so that a right label without a thought
 * beats a wrong rollout with one. The published reward adds its terms up.
 */
export const DEFAULT_WEIGHTS = {
  default: { thinking: 0.5, format: 1, accuracy: 1, nonRepeat: 0 },
  published: { thinking: 1, format: 1, accuracy: 1, nonRepeat: 1 },
} as const;
