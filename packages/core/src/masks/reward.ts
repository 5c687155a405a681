/** What masks that SAM2 draws of an answer have in common with the true one, as a reward and as a metric. */
import type { JudgedAnswer, ResponseReward } from '../reward/reward.ts';
import type { Prediction } from '../tasks/task.ts';
import { requireLibrary } from './exported.ts';
import { overlapOf } from './masks.ts';
import type { Outlined } from './sam2.ts';
import { segmenterOf } from './segmenter.ts';
import { readTruthMask } from './truth.ts';

/** What tasks with places call their parameters. */
export interface MaskParameters {
  readonly masks?: unknown;
  readonly sam2?: unknown;
  readonly weights?: { readonly mask?: number | undefined };
}

/** Every box with its point; all points where there is one box; boxes alone where the two are not as many. */
export function outlined({ boxes, points }: Pick<Prediction, 'boxes' | 'points'>): Outlined[] {
  if (boxes.length === 1) return [{ box: boxes[0]!, points }];
  return boxes.map((box, i) => ({ box, points: boxes.length === points.length ? [points[i]!] : [] }));
}

/**
 * The term `mask`, 0 to 1: IoU of what SAM2 draws of the answer's objects with the true mask; where nothing is to be found 1 for
 * an answer that says so.
 */
export const maskReward = (source: string, weight: number): ResponseReward => ({
  name: 'mask',
  weight,
  metric: 'maskIoU',
  isSlow: true,
  async score({ parsed }: JudgedAnswer, sample, { frames }) {
    const [frame, file] = [frames[0]!, sample.images[0]!];
    const truth = readTruthMask(sample.extra['mask'] ?? [], frame);
    if (truth.data.every((value) => value === 0)) return Number(parsed.wellFormed && parsed.boxes.length === 0);
    if (parsed.boxes.length === 0) return 0;
    const { intersection, union } = overlapOf(await segmenterOf(source).union(file, outlined(parsed)), truth);
    return intersection / union;
  },
});

/** The reward of a task whose parameters ask for masks; none where they do not. @throws UserError without the package */
export function maskRewards({ masks, sam2, weights }: MaskParameters): ResponseReward[] {
  if (masks !== 'sam2' || typeof sam2 !== 'string') return [];
  requireLibrary();
  return [maskReward(sam2, weights?.mask ?? 0)];
}
