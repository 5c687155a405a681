/**
 * Weights of linear layers in bfloat16 alone, where products take them so anyway: every pass has the same bits as with a
 * cast of float32. Where several processes train them, that copy is whole in each, and of the float32 numbers behind it, the
 * masters that steps of the optimiser move, each has slices (slices.ts).
 */
import { keep, type distributed, type Tensor } from '@visurf/torch';

import type { VisionLanguageModel } from '../model/vlm.ts';
import { sliceLength, sliceOf } from './slices.ts';

/** The float32 numbers of a parameter. */
export interface Master {
  /** This process's slice, [elements]. */
  readonly slice: Tensor;
  /** Of the whole. */
  readonly shape: readonly number[];
}

/**
 * Keeps the weights of linear layers in bfloat16, where that is the model's precision. Embeddings, norms and the head, whose
 * gradient is added up in float32, stay.
 * @param onMaster sees each as it was, before it is freed
 */
export function halveProducts(model: VisionLanguageModel, onMaster?: (key: string, whole: Tensor) => void): void {
  if (model.precision !== 'bfloat16') return;
  const halved = new Set(model.projections.flatMap(({ weight, bias }) => [weight, bias]));
  model.replaceParameters((key, parameter) => {
    if (!halved.has(parameter)) return parameter;
    onMaster?.(key, parameter);
    return parameter.to('bfloat16');
  });
  model.weightsChanged();
}

/** `halveProducts`, with this process's slices of what was there, by key; none in other precisions. */
export function shareMasters(
  model: VisionLanguageModel,
  { rank, size }: Pick<distributed.ProcessGroup, 'rank' | 'size'>,
): ReadonlyMap<string, Master> {
  const masters = new Map<string, Master>();
  halveProducts(model, (key, whole) => {
    const { numel, shape } = whole;
    const { from, own } = sliceOf(numel, sliceLength(numel, size), rank);
    masters.set(key, { shape, slice: keep(whole.view(-1).narrow(0, from, own).clone()) });
  });
  return masters;
}
