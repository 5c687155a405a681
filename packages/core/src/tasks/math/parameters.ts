/** Parameters of the mathematics task. */
import { z } from 'zod';
import { unsaidWeights } from '../weights.ts';

const weight = z.number().nonnegative().optional();

export const mathParameters = z.strictObject({
  /** Ours, or a published one; `r1v` has its prompt and `<answer>` in place of the box. */
  reward: z.enum(['default', 'mathruler', 'r1v']).default('default'),
  /** What is left out takes the value that belongs to the reward (`DEFAULT_WEIGHTS`). */
  weights: z.strictObject({ thinking: weight, format: weight, accuracy: weight, nonRepeat: weight }).default({}),
});

/** What goes without saying of them. */
export const unsaidOfMath = { reward: 'default', weights: unsaidWeights } as const;

export type MathParameters = z.output<typeof mathParameters>;

/** Of mathruler's verdicts a wrong answer in a box earns 0.1, a right one 1; R1-V's marks for form and answer are averaged. */
export const DEFAULT_WEIGHTS = {
  default: { thinking: 0.5, format: 1, accuracy: 1, nonRepeat: 0 },
  mathruler: { thinking: 0, format: 0.1, accuracy: 0.9, nonRepeat: 0 },
  r1v: { thinking: 0.5, format: 0, accuracy: 0.5, nonRepeat: 0 },
} as const;
