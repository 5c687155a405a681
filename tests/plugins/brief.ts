import { defineReward } from 'visurf';

export const brief = defineReward({
  name: 'brief',
  weight: 0.2,
  score: ({ text }) => Math.max(0, 1 - text.length / 400),
});
