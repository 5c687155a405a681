/** Supervised fine-tuning: equation 1. */

/** Sum over tokens of -log pi, each weighed by its weight in the batch; its derivative is -weight for every token. */
export function negativeLogLikelihood(logProbs: ArrayLike<number>, weight: number): number {
  let sum = 0;
  for (let t = 0; t < logProbs.length; t++) sum += logProbs[t]!;
  return -weight * sum;
}
