/**
 * Log-probabilities of tokens under the full vocabulary, in chunks of rows: [tokens, vocabulary] never exists for a
 * whole batch. The backward is written out (d log p(y) / d logits = onehot(y) - p), so chunks need no graph.
 */
import {
  cat,
  deviceMemory,
  empty,
  functional,
  noGrad,
  scope,
  tensor,
  zeros,
  type Device,
  type Tensor,
} from '@visurf/torch';

import { chunkElements } from '../budgets.ts';
import type { Precision } from './projection.ts';

/** Bytes that tensors can have; undefined where they are the host's. */
export function freeMemory(device: Device): number | undefined {
  const own = deviceMemory(device);
  return own && (own.free ?? 0) + own.reserved - own.allocated;
}

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
  precision: Precision,
  elements = chunkElements(freeMemory(hidden.device)),
): ScoredTokens {
  const rows = targets.length;
  const { device } = hidden;
  const step = Math.max(1, Math.floor(elements / weight.size(0)));
  const starts = Array.from({ length: Math.ceil(rows / step) }, (_, i) => i * step);
  const cast = (x: Tensor): Tensor => (precision === 'bfloat16' ? x.to('bfloat16') : x);
  const raise = (x: Tensor): Tensor => (precision === 'bfloat16' ? x.to('float32') : x);
  const index = tensor(targets, { dtype: 'int64', device }).unsqueeze(1);

  interface Chunk {
    readonly states: Tensor;
    readonly logProbs: Tensor;
    readonly index: Tensor;
  }
  const chunk = (start: number, matrix: Tensor): Chunk => {
    const length = Math.min(step, rows - start);
    const states = cast(hidden.narrow(0, start, length));
    const logProbs = scope(() => raise(functional.linear(states, matrix)).logSoftmax(-1));
    return { states, index: index.narrow(0, start, length), logProbs };
  };

  // One chunk is kept for the pullback; several are computed again, with the same cast of the weight.
  const scored = noGrad(() =>
    scope(() => {
      const matrix = cast(weight);
      const chunks = starts.map((start) =>
        scope(() => {
          const current = chunk(start, matrix);
          const chosen = current.logProbs.gather(1, current.index);
          return { chosen, kept: starts.length === 1 ? current : undefined };
        }),
      );
      const all = chunks.length > 0 ? cat(chunks.map(({ chosen }) => chosen)).toFloat64Array() : new Float64Array();
      return { logProbs: all, only: chunks[0]?.kept, copy: matrix === weight ? undefined : matrix };
    }),
  );
  const { logProbs, only } = scored;
  let { copy } = scored;

  const pullback = (coefficients: Float64Array): Tensor =>
    scope(() =>
      noGrad(() => {
        // Made before the chunks: what outlives one must not lie among their memory, where no other would fit then.
        const gradient = empty(hidden.shape, { dtype: hidden.dtype, device });
        if (weight.requiresGrad) weight.grad ??= zeros(weight.shape, { dtype: weight.dtype, device: weight.device });
        const { grad } = weight;
        const matrix = copy ?? cast(weight);
        const dtype = precision === 'bfloat16' ? 'float32' : hidden.dtype;
        const all = tensor(coefficients, { device }).to(dtype).unsqueeze(1);
        for (const start of starts) {
          scope(() => {
            const { states, index: own, logProbs: scores } = only ?? chunk(start, matrix);
            const factors = all.narrow(0, start, states.size(0));
            const gradLogits = cast(scores.exp().mul_(factors.neg()).scatterAdd_(1, own, factors));
            if (weight.requiresGrad) addProduct(grad!, gradLogits, states);
            gradient.narrow(0, start, states.size(0)).copy_(functional.linear(gradLogits, matrix.t()));
          });
        }
        // The backward pass of the layers, which comes next, has no use for it.
        copy?.dispose();
        copy = undefined;
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
