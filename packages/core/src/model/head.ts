/**
 * Log-probabilities of tokens under the full vocabulary, in chunks of rows: [tokens, vocabulary] never exists for a
 * whole batch. The backward is written out (d log p(y) / d logits = onehot(y) - p), so chunks need no graph.
 */
import { accumulate, cat, functional, noGrad, scope, tensor, type Tensor } from '@visurf/torch';

/** Elements of one chunk of logits: 64 MB in float32. */
const chunkElements = 1 << 24;

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
 */
export function scoreTokens(
  hidden: Tensor,
  weight: Tensor,
  targets: readonly number[],
  precision: 'float32' | 'bfloat16',
): ScoredTokens {
  const rows = targets.length;
  const step = Math.max(1, Math.floor(chunkElements / weight.size(0)));
  const starts = Array.from({ length: Math.ceil(rows / step) }, (_, i) => i * step);
  const cast = (x: Tensor): Tensor => (precision === 'bfloat16' ? x.to('bfloat16') : x);
  const raise = (x: Tensor): Tensor => (precision === 'bfloat16' ? x.to('float32') : x);

  const chunk = (start: number): { states: Tensor; logProbs: Tensor; index: Tensor } => {
    const length = Math.min(step, rows - start);
    const states = cast(hidden.narrow(0, start, length));
    const index = tensor(targets.slice(start, start + length), {
      dtype: 'int64',
    })
      .to({ device: hidden.device })
      .unsqueeze(1);
    return {
      states,
      index,
      logProbs: raise(functional.linear(states, cast(weight))).logSoftmax(-1),
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
        const gradients = starts.map((start) =>
          scope(() => {
            const { states, index, logProbs: scores } = only ?? chunk(start);
            const length = states.size(0);
            const dtype = scores.dtype;
            const factors = tensor(coefficients.subarray(start, start + length), {
              dtype: 'float64',
              device: hidden.device,
            })
              .to(dtype)
              .unsqueeze(1);
            const gradLogits = cast(scores.exp().mul_(factors.neg()).scatterAdd_(1, index, factors));
            if (weight.requiresGrad) accumulate(weight, raise(gradLogits.t().mm(states)));
            return raise(gradLogits.mm(cast(weight)));
          }),
        );
        return cat(gradients);
      }),
    );
  return { logProbs, pullback };
}
