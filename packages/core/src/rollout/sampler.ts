/**
 * From logits to the next token. The order is the reference's: repetition penalty, temperature, top-k, top-p.
 * Log-probabilities are always those of the raw logits over the full vocabulary at temperature 1.
 */
import { callOp, functional, scope, tensor, withDevice, type Tensor } from '@visurf/torch';

import { NotFinite } from '../errors.ts';

export interface Sampling {
  /** 0 is greedy. */
  readonly temperature: number;
  /** Keeps the fewest most probable tokens whose probabilities reach this; 1 keeps all. */
  readonly topP: number;
  /** Keeps this many; 0 keeps all. */
  readonly topK: number;
  /** Divides positive and multiplies negative logits of tokens seen in prompt or response; 1 does nothing. */
  readonly repetitionPenalty: number;
}

export const greedy: Sampling = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1 };

const indices = (values: readonly number[]): Tensor => tensor(values, { dtype: 'int64' });

/** logits [R, V] with the logits of tokens in `seen` (one set per row) made less likely (Keskar et al., arXiv 1909.05858). */
function penalise(logits: Tensor, seen: readonly ReadonlySet<number>[], penalty: number): Tensor {
  const vocabulary = logits.size(1);
  const places = indices(seen.flatMap((row, r) => [...row].map((token) => r * vocabulary + token)));
  const flat = logits.reshape(-1);
  const chosen = flat.indexSelect(0, places);
  const penalised = chosen.mul(penalty).where(chosen.lt(0), chosen.div(penalty));
  return flat.indexCopy(0, places, penalised).view(-1, vocabulary);
}

/** Everything but the `k` largest scores of each row becomes -Infinity (ties with the k-th stay). */
function keepTopK(scores: Tensor, k: number): Tensor {
  if (k <= 0 || k >= scores.size(1)) return scores;
  const [values] = scores.topk(k);
  return scores.maskedFill(callOp('lt.Tensor', scores, values.narrow(1, k - 1, 1)) as Tensor, -Infinity);
}

/** Drops the least probable tokens whose joint probability is at most 1 - p; the most probable always stays. */
function keepTopP(scores: Tensor, p: number): Tensor {
  if (p >= 1) return scores;
  const [sorted, order] = scores.sort(-1, false);
  const drop = sorted
    .softmax(-1)
    .cumsum(-1)
    .le(1 - p)
    .to('int64');
  drop.narrow(1, sorted.size(1) - 1, 1).zero_();
  const scattered = callOp('scatter.src', drop, 1, order, drop) as Tensor;
  return scores.maskedFill(scattered.to('bool'), -Infinity);
}

export interface Chosen {
  readonly tokens: readonly number[];
  /** Log-probabilities of the chosen tokens, under the raw logits. */
  readonly logProbs: Float64Array;
}

/** Chosen tokens where the logits are: int64 [R], and their log-probabilities, float64 [R]. */
export type ChosenThere = readonly [tokens: Tensor, logProbs: Tensor];

/**
 * One token per row of logits [R, V].
 * @param noise uniform numbers in [0, 1), one per row; unused when greedy
 * @param forbidden additive [V]: -Infinity for tokens that must not be sampled
 * @param seen tokens of prompt and response per row; read only with a repetition penalty
 */
export function sampleTokens(
  logits: Tensor,
  sampling: Sampling,
  noise: readonly number[],
  forbidden: Tensor | undefined,
  seen: readonly ReadonlySet<number>[],
): Chosen {
  return scope(() =>
    withDevice(logits.device, () => {
      const uniform = tensor(noise, { dtype: 'float64' });
      const [tokens, chosen] = isPlain(sampling, logits)
        ? functional.sample(logits, uniform, forbidden, sampling.temperature)
        : chooseTokens(logits, sampling, uniform, forbidden, seen);
      const logProbs = chosen.toFloat64Array();
      requireProbabilities(logProbs);
      return { tokens: tokens.toArray(), logProbs };
    }),
  );
}

/** `sampleTokens` of libtorch's operators, which reads nothing back: without a repetition penalty it can be recorded. */
export function chooseTokens(
  logits: Tensor,
  { temperature, topK, topP, repetitionPenalty }: Sampling,
  noise: Tensor,
  forbidden: Tensor | undefined,
  seen: readonly ReadonlySet<number>[] = [],
): ChosenThere {
  const raw = logits.logSoftmax(-1);
  let scores = repetitionPenalty === 1 ? raw : penalise(logits, seen, repetitionPenalty);
  if (forbidden) scores = scores.add(forbidden);
  const tokens = temperature === 0 ? scores.argmax(-1) : draw(warp(scores, temperature, topK, topP), noise);
  return [tokens, raw.gather(1, tokens.unsqueeze(1)).squeeze(1).to('float64')];
}

/** Whether a kernel of ours does it all: sampling from the softmax, on the CPU. */
const isPlain = ({ temperature, topK, topP, repetitionPenalty }: Sampling, { device, dtype }: Tensor): boolean =>
  temperature > 0 &&
  topK <= 0 &&
  topP >= 1 &&
  repetitionPenalty === 1 &&
  device === 'cpu' &&
  /^float(32|64)$/.test(dtype);

const warp = (scores: Tensor, temperature: number, topK: number, topP: number): Tensor =>
  keepTopP(keepTopK(temperature === 1 ? scores : scores.div(temperature), topK), topP);

/** Inverse transform sampling: the first token whose cumulative probability exceeds the row's noise. */
function draw(scores: Tensor, noise: Tensor): Tensor {
  const cumulative = scores.softmax(-1).to('float64').cumsum(-1);
  const total = cumulative.narrow(1, cumulative.size(1) - 1, 1);
  const thresholds = noise.unsqueeze(1).mul(total);
  // Past the end only where scores are NaN, which the caller finds in the log-probabilities.
  return cumulative
    .searchsorted(thresholds, true)
    .squeeze(1)
    .clamp(0, cumulative.size(1) - 1);
}

/** @throws UserError where a model that has diverged gives no probabilities */
export function requireProbabilities(logProbs: Float64Array): void {
  if (!logProbs.some(Number.isNaN)) return;
  throw new NotFinite("the model's probabilities are NaN", {
    remedy: 'Lower optimizer.learningRate, or take a checkpoint from before training diverged.',
  });
}
