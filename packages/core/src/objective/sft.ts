/** Supervised fine-tuning: equation 1. */

/** Sum over tokens of -log pi, each weighed by its weight in the batch; its derivative is -weight for every token. */
export function negativeLogLikelihood(logProbs: ArrayLike<number>, weight: number): number {
  let sum = 0;
  for (const each of Array.from(logProbs)) sum += each;
  return -weight * sum;
}
