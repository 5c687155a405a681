/** Numbers of the pretraining. */
import { SHARED, type PretrainPlan } from '@visurf/mini/kit';

export const PLAN: PretrainPlan = {
  ...SHARED,
  family: 'qwen2_5_vl',
  stages: [
    { name: 'see', updates: 500, images: 40, learningRate: 2e-3 },
    { name: 'read', updates: 800, images: 24, learningRate: 2e-3 },
  ],
  rooms: { smears: 1 },
};
