/** Numbers of the pretraining: what is trained how long on what. */
import type { LessonOptions } from './lessons.ts';
import type { OptimizerPlan, Stage as PretrainingStage } from './pretraining.ts';

export type Stage = PretrainingStage<'see' | 'read'>;

export interface PretrainPlan extends OptimizerPlan {
  readonly seed: number;
  /** First the vision tower alone learns what patches show, then the whole model learns its lessons. */
  readonly stages: readonly Stage[];
  /** After this share of the second stage the details come: `imagine` lessons, exact numbers, sharp answers. */
  readonly late: number;
  readonly lessons: Omit<LessonOptions, 'jitter' | 'imagine'>;
  /** Standard deviations in pixels of the numbers that are read and of the targets of those that are said. */
  readonly jitter: { readonly early: number; readonly late: number };
  readonly blur: { readonly early: number; readonly late: number };
  readonly weights: {
    readonly imagine: number;
    readonly existsAnswer: number;
    readonly existsForm: number;
    /** Expected distance, in pixels, of a sampled number from the true one; late only. */
    readonly distance: number;
    /** What patches and image tokens show; in the second stage it fades to a fifth of this. */
    readonly sight: number;
    /** Which image tokens the hidden state points to, and the box it knows; both fade to nothing. */
    readonly pointer: number;
    readonly box: number;
  };
}

export const PLAN: PretrainPlan = {
  seed: 11,
  stages: [
    { name: 'see', updates: 700, images: 48, learningRate: 2e-3 },
    { name: 'read', updates: 700, images: 24, learningRate: 2e-3 },
  ],
  warmupSteps: 50,
  floor: 0.05,
  betas: [0.9, 0.98],
  weightDecay: 0.01,
  clipNorm: 1,
  late: 0.55,
  lessons: { careful: 0.3, direct: 0.15, margin: 4, find: 3 },
  jitter: { early: 2, late: 1 },
  blur: { early: 2, late: 1 },
  weights: { imagine: 0.2, existsAnswer: 0.3, existsForm: 0.1, distance: 0.2, sight: 0.5, pointer: 0.3, box: 2 },
};
