/** Numbers of the pretrainings: what is trained how long on what. */
import type { Miniature, OptimizerPlan, Stage } from '@visurf/mini-grounding/kit';

import type { Group, LessonOptions } from '../lessons/lesson.ts';
import { PIXEL_VOCABULARY, THOUSANDTHS_VOCABULARY } from '../vocabulary.ts';

export type PretrainStage = Stage<'see' | 'read'>;

export interface PretrainPlan extends OptimizerPlan {
  readonly seed: number;
  readonly family: Miniature['family'];
  /** First the vision tower alone learns what patches show, then the whole model learns its lessons. */
  readonly stages: readonly PretrainStage[];
  /** Shares of the pictures. */
  readonly rooms: Readonly<Record<string, number>>;
  /** After this share of the second stage the details come: imagined answers, exact numbers, sharp answers. */
  readonly late: number;
  readonly lessons: Omit<LessonOptions, 'jitter' | 'imagine'>;
  /** Standard deviations in pixels of the coordinates that are read and of the targets of those that are said. */
  readonly jitter: { readonly early: number; readonly late: number };
  readonly blur: { readonly early: number; readonly late: number };
  readonly weights: {
    /** Weights of the language losses. */
    readonly groups: Readonly<Record<Group, number>>;
    /** Expected distance, in pixels, of a sampled coordinate from the true one; late only. */
    readonly distance: number;
    /** What patches and image tokens show; in the second stage it fades to a fifth of this. */
    readonly sight: number;
    /** Which image tokens the hidden state points to, and the box it knows; both fade to nothing. */
    readonly pointer: number;
    readonly box: number;
  };
}

/** What all plans have in common. */
export const SHARED = {
  seed: 11,
  warmupSteps: 50,
  floor: 0.05,
  betas: [0.9, 0.98],
  weightDecay: 0.01,
  clipNorm: 1,
  late: 0.6,
  lessons: { careful: 0.3, direct: 0.15, hasty: { box: 4, lesion: 7, click: 12 } },
  jitter: { early: 2, late: 1 },
  blur: { early: 2, late: 1 },
  weights: {
    groups: {
      ...{ refer: 1, relate: 1, click: 0.7, lesion: 0.4, sum: 0.7 },
      ...{ imagine: 0.2, inspect: 0.2, exists: 0.3, defect: 0.3, skill: 0.4, form: 0.1 },
    },
    ...{ distance: 0.2, sight: 0.5, pointer: 0.3, box: 2 },
  },
} as const;

/**
 * One base for all tasks, one in the older architecture for parts and skin, one in a later one for figures, and one that
 * cannot tell what is absent.
 */
export const PLANS = {
  base: {
    ...SHARED,
    family: 'qwen2_5_vl',
    stages: [
      { name: 'see', updates: 700, images: 48, learningRate: 2e-3 },
      { name: 'read', updates: 1500, images: 28, learningRate: 2e-3 },
    ],
    rooms: { figures: 12 / 28, screens: 6 / 28, parts: 5 / 28, skin: 2 / 28, signs: 3 / 28 },
  },
  'base-qwen2': {
    ...SHARED,
    family: 'qwen2_vl',
    stages: [
      { name: 'see', updates: 400, images: 32, learningRate: 2e-3 },
      { name: 'read', updates: 600, images: 20, learningRate: 2e-3 },
    ],
    rooms: { parts: 12 / 20, skin: 8 / 20 },
  },
  'base-qwen3': {
    ...SHARED,
    family: 'qwen3_vl',
    stages: [
      { name: 'see', updates: 500, images: 36, learningRate: 2e-3 },
      { name: 'read', updates: 700, images: 24, learningRate: 2e-3 },
    ],
    rooms: { figures: 1 },
    lessons: { ...SHARED.lessons, sums: false },
  },
  'base-blind': {
    ...SHARED,
    family: 'qwen2_5_vl',
    stages: [
      { name: 'see', updates: 500, images: 32, learningRate: 2e-3 },
      { name: 'read', updates: 700, images: 20, learningRate: 2e-3 },
    ],
    rooms: { figures: 1 },
    lessons: { ...SHARED.lessons, presence: false },
  },
} satisfies Record<string, PretrainPlan>;

export type BaseName = keyof typeof PLANS;

export const miniatureOf = ({ family }: PretrainPlan): Miniature => ({
  family,
  vocabulary: family === 'qwen2_5_vl' ? PIXEL_VOCABULARY : THOUSANDTHS_VOCABULARY,
});

export const isBaseName = (name: string): name is BaseName => Object.hasOwn(PLANS, name);

export const planOf = (name: BaseName): PretrainPlan => PLANS[name];
