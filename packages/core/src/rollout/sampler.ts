/**
 * From logits to the next token. The order is the reference's: repetition penalty, temperature, top-k, top-p.
 * Log-probabilities are always those of the raw logits over the full vocabulary at temperature 1.
 */
import { arange, callOp, cat, functional, scope, tensor, withDevice, zeros, type Tensor } from '@visurf/torch';

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

/** Tokens of prompt and response so far, bool [R, V], of one set per row. */
export function seenTokens(seen: readonly ReadonlySet<number>[], vocabulary: number): Tensor {
  const places = seen.flatMap((row, r) => [...row].map((token) => r * vocabulary + token));
  const none = zeros([seen.length * vocabulary], { dtype: 'bool' });
  const index = tensor(places, { dtype: 'int64' });
  return (callOp('index_fill_.int_Scalar', none, 0, index, 1) as Tensor).view(-1, vocabulary);
}

/** logits [R, V] with those of `seen` tokens made less likely (Keskar et al., arXiv 1909.05858). */
const penalise = (logits: Tensor, seen: Tensor, penalty: number): Tensor =>
  logits.mul(penalty).where(logits.lt(0), logits.div(penalty)).where(seen, logits);

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
      const uniform = tensor(belowOne(noise), { dtype: 'float64' });
      const [tokens, chosen] = isPlain(sampling, logits)
        ? functional.sample(logits, uniform, forbidden, sampling.temperature)
        : chooseTokens(
            logits,
            sampling,
            uniform,
            forbidden,
            sampling.repetitionPenalty === 1 ? undefined : seenTokens(seen, logits.size(1)),
          );
      const logProbs = chosen.toFloat64Array();
      requireProbabilities(logProbs);
      return { tokens: tokens.toArray(), logProbs };
    }),
  );
}

/**
 * `sampleTokens` of libtorch's operators, which reads nothing back: it can be recorded.
 * @param seen as `seenTokens` has it; read only with a repetition penalty
 */
export function chooseTokens(
  logits: Tensor,
  { temperature, topK, topP, repetitionPenalty }: Sampling,
  noise: Tensor,
  forbidden: Tensor | undefined,
  seen?: Tensor,
): ChosenThere {
  const raw = logits.logSoftmax(-1);
  let scores = seen && repetitionPenalty !== 1 ? penalise(logits, seen, repetitionPenalty) : raw;
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

/** Tokens whose weights are summed up before sums accumulate: along a whole vocabulary that takes a GPU milliseconds. */
const massBlock = 256;
/** Up to so many tokens the sums accumulate at once. */
const smallVocabulary = 4096;

/** Noise tensors hold what this leaves of uniform numbers in [0, 1): a share of a total that is below it when rounded. */
export const belowOne = (noise: readonly number[]): number[] => noise.map((each) => Math.min(each, 1 - Number.EPSILON));

/**
 * Inverse transform sampling: the first token whose cumulative probability exceeds the row's noise. Whole blocks of
 * tokens accumulate first, then the tokens of the block that is reached; what is found always has a probability. Where
 * scores are NaN it is any token: the caller finds that in the log-probabilities.
 */
function draw(scores: Tensor, noise: Tensor): Tensor {
  const weights = scores.softmax(-1);
  const [rows, size] = weights.shape as [number, number];
  const [last, share] = [size - 1, noise.unsqueeze(1)];
  const reached = (cumulative: Tensor, threshold: Tensor): Tensor => cumulative.searchsorted(threshold, true);
  const totalOf = (cumulative: Tensor): Tensor => cumulative.narrow(1, cumulative.size(1) - 1, 1);
  if (size <= smallVocabulary) {
    const cumulative = weights.to('float64').cumsum(1);
    return reached(cumulative, share.mul(totalOf(cumulative)))
      .squeeze(1)
      .clamp(0, last);
  }
  const inBlocks = size - (size % massBlock);
  const sums = [weights.narrow(1, 0, inBlocks).view(rows, -1, massBlock).sum(2)];
  if (inBlocks < size) sums.push(weights.narrow(1, inBlocks, size - inBlocks).sum(1, true));
  const masses = cat(sums, 1).to('float64');
  const cumulative = masses.cumsum(1);
  const threshold = share.mul(totalOf(cumulative));
  const block = reached(cumulative, threshold).clamp(0, masses.size(1) - 1);
  const before = cumulative.gather(1, block).sub(masses.gather(1, block));
  const first = block.mul(massBlock);
  const places = first.add(arange(0, massBlock)).clamp(0, last);
  const within = weights.gather(1, places).to('float64').cumsum(1);
  // Sums in another order may end just below or above what is left.
  const left = callOp('minimum', threshold.sub(before).clamp(0), totalOf(within).mul(1 - Number.EPSILON)) as Tensor;
  return first.add(reached(within, left)).squeeze(1).clamp(0, last);
}

/** @throws UserError where a model that has diverged gives no probabilities */
export function requireProbabilities(logProbs: Float64Array): void {
  if (!logProbs.some(Number.isNaN)) return;
  throw new NotFinite("the model's probabilities are NaN", {
    remedy: 'Lower optimizer.learningRate, or take a checkpoint from before training diverged.',
  });
}
