/** A reward of one's own, `plugins: [reward.ts]` in a configuration: short answers earn more. */
import { defineReward } from 'visurf';

export default defineReward({
  name: 'brevity',
  weight: 0.1,
  score: ({ text }) => Math.max(0, 1 - text.length / 400),
});
