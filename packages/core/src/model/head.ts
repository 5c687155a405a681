/**
 * Log-probabilities of tokens under the full vocabulary, in chunks of rows: [tokens, vocabulary] never exists for a
 * whole batch. The backward is written out (d log p(y) / d logits = onehot(y) - p), so chunks need no graph.
 */
import { empty, functional, noGrad, scope, tensor, zeros, type Tensor } from '@visurf/torch';

import { chunkElements } from '../budgets.ts';

export interface ScoredTokens {
  /** [N] */
  readonly logProbs: Float64Array;
  /**
   * Given d loss / d logProbs [N], adds the gradient of the head's weight to its `.grad` (where it is trained) and
   * returns that of the hidden states, [N, D].
   */
  pullback(coefficients: Float64Array): Tensor;
}

/**
 * @param hidden [N, D] after the final norm
 * @param weight [V, D]
 * @param targets [N]
 * @param precision dtype of the products; the softmax is at least float32
 * @param elements of a chunk of logits
 */
export function scoreTokens(
  hidden: Tensor,
  weight: Tensor,
  targets: readonly number[],
  precision: 'float32' | 'bfloat16',
  elements = chunkElements,
): ScoredTokens {
  const rows = targets.length;
  const { device } = hidden;
  const step = Math.max(1, Math.floor(elements / weight.size(0)));
  const starts = Array.from({ length: Math.ceil(rows / step) }, (_, i) => i * step);
  const cast = (x: Tensor): Tensor => (precision === 'bfloat16' ? x.to('bfloat16') : x);
  const raise = (x: Tensor): Tensor => (precision === 'bfloat16' ? x.to('float32') : x);

  const chunk = (start: number): { states: Tensor; logProbs: Tensor; index: Tensor } => {
    const length = Math.min(step, rows - start);
    const states = cast(hidden.narrow(0, start, length));
    const index = tensor(targets.slice(start, start + length), { dtype: 'int64', device }).unsqueeze(1);
    return {
      states,
      index,
      logProbs: scope(() => raise(functional.linear(states, cast(weight))).logSoftmax(-1)),
    };
  };

  const logProbs = new Float64Array(rows);
  // One chunk is kept for the pullback; several are computed again.
  let only: ReturnType<typeof chunk> | undefined;
  noGrad(() => {
    for (const start of starts) {
      const kept = scope(() => {
        const current = chunk(start);
        logProbs.set(current.logProbs.gather(1, current.index).toFloat64Array(), start);
        return starts.length === 1 ? current : undefined;
      });
      only = kept;
    }
  });

  const pullback = (coefficients: Float64Array): Tensor =>
    scope(() =>
      noGrad(() => {
        // Made before the chunks: what outlives one must not lie among their memory, where no other would fit then.
        const gradient = empty(hidden.shape, { dtype: hidden.dtype, device });
        if (weight.requiresGrad) weight.grad ??= zeros(weight.shape, { dtype: weight.dtype, device: weight.device });
        const { grad } = weight;
        for (const start of starts) {
          scope(() => {
            const { states, index, logProbs: scores } = only ?? chunk(start);
            const length = states.size(0);
            const dtype = scores.dtype;
            const chosen = coefficients.subarray(start, start + length);
            const factors = tensor(chosen, { dtype: 'float64', device }).to(dtype).unsqueeze(1);
            const gradLogits = cast(scores.exp().mul_(factors.neg()).scatterAdd_(1, index, factors));
            if (weight.requiresGrad) addProduct(grad!, gradLogits, states);
            gradient.narrow(0, start, length).copy_(functional.linear(gradLogits, cast(weight).t()));
          });
        }
        return gradient;
      }),
    );
  return { logProbs, pullback };
}

/** sum += a^T b, in place where the dtypes allow it. */
function addProduct(sum: Tensor, a: Tensor, b: Tensor): void {
  if (a.dtype === sum.dtype) functional.addProduct(sum, a, b);
  else sum.add_(a.t().mm(b));
}
