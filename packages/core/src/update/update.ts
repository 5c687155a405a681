/**
 * From advantages to new weights: log-probabilities in micro-batches, one backward pass each with the coefficients of
 * the objective, then clip and step. Cutting a batch differently changes nothing but rounding: denominators are those
 * of the whole batch and are known before the first forward pass.
 */
import { setImmediate } from 'node:timers/promises';

import { deterministic, droppable, optim, scope, type Tensor } from '@visurf/torch';

import type { Config } from '../config/schema.ts';
import { alone, type Processes } from '../distributed/processes.ts';
import { NotFinite, Spoiled } from '../errors.ts';
import { Draws, type DropoutKey } from '../model/dropout.ts';
import { asReference, withDropout } from '../model/lora.ts';
import type { PromptWithResponses } from '../model/pack.ts';
import type { GradientWatch } from '../model/stage.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';
import { addMismatch, noMismatch, type Correction, type Mismatch } from '../objective/mismatch.ts';
import {
  evaluateResponse,
  isLabel,
  plannedResponses,
  type LossWeights,
  type ResponseStats,
} from '../objective/objective.ts';
import type { Group, Response } from '../types.ts';
import { measured, rolloutsOf, watchRollouts, weightsOf, withoutFarOff } from './far-off.ts';
import { logProbs } from './log-probs.ts';
import { microBatches } from './microbatch.ts';
import { cut, packable, planWork, rowOf, totalsOf, type Work } from './work.ts';
import type { GradientSums } from './sums.ts';
import type { GradientShares } from './zero.ts';

export interface Learner {
  readonly model: VisionLanguageModel;
  /**
   * Frozen reference policy; present where a KL penalty acts. With LoRA it is the model itself: its adapters are switched
   * off, or are as they were at the start.
   */
  readonly reference: VisionLanguageModel | undefined;
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly optimizer: optim.Optimizer;
  /** Of gradients that processes share out, as they share out what the optimiser keeps. */
  readonly shares?: GradientShares | undefined;
  /** Of gradients that each of several processes has whole. */
  readonly sums?: GradientSums | undefined;
}

export interface UpdateResult {
  readonly loss: number;
  /** Global norm of the gradient before clipping, of the last inner update. */
  readonly gradientNorm: number;
  /** log pi_old of the tokens of every response that was scored. */
  readonly oldLogProbs: ReadonlyMap<Response, Float64Array>;
  /** Responses that went through the model, of all. */
  readonly scored: number;
  readonly responses: number;
  readonly stats: ResponseStats;
  /** How far rollouts are from who sampled them, where another policy has. */
  readonly mismatch?: Mismatch | undefined;
  /** Share of sum |d loss / d log pi| over tokens that comes from labels, of the last inner update; NaN without a gradient. */
  readonly labelGradient: number;
  /** What was not finite, where that update was left out; loss and norm are then NaN. */
  readonly nonFinite?: string | undefined;
}

const noStats: ResponseStats = {
  tokens: 0,
  clippedLow: 0,
  clippedHigh: 0,
  ratioSum: 0,
  klSum: 0,
  klTokens: 0,
  klClamped: 0,
};
const addStats = (a: ResponseStats, b: ResponseStats): ResponseStats => ({
  tokens: a.tokens + b.tokens,
  clippedLow: a.clippedLow + b.clippedLow,
  clippedHigh: a.clippedHigh + b.clippedHigh,
  ratioSum: a.ratioSum + b.ratioSum,
  klSum: a.klSum + b.klSum,
  klTokens: a.klTokens + b.klTokens,
  klClamped: a.klClamped + b.klClamped,
});

const initialLogProbs = (reference: VisionLanguageModel, items: readonly PromptWithResponses[]): Float64Array =>
  asReference(reference, () => logProbs(reference, items));

export interface UpdateKey {
  /** Which step's dropout (LoRA) it is. */
  readonly seed: number;
  readonly step: number;
  /** When aborted before the weights have moved, nothing of the update happens. */
  readonly signal?: AbortSignal | undefined;
  /** Of rollouts that another policy has sampled; unset: they are the policy's own. */
  readonly correction?: Correction | undefined;
  /** Hears of micro-batches that are done, of how many. */
  readonly onMicro?: ((done: number, all: number) => void) | undefined;
  /** That learn together, each from groups of its own. */
  readonly processes?: Processes;
  /** Of the groups among those of all processes; unset: there are no others. */
  readonly places?: readonly number[];
}

const drawsOf = ({ seed, step, update }: DropoutKey, micro: readonly Work[]): Draws =>
  new Draws(
    { seed, step, update },
    micro.map(({ place, items }) => ({ place, responses: items.map(({ index }) => index) })),
  );

/**
 * One batch: `updatesPerBatch` optimiser steps on the same groups.
 * @param learningRate of this step, after its schedule
 * @param key of dropout
 * @throws UserError when the loss or the gradient is not finite, unless `onNonFinite` says to leave the update out; the
 * weights are then those before the update.
 * @throws the signal's reason when it is aborted in time
 */
export async function updatePolicy(
  learner: Learner,
  groups: readonly Group[],
  weights: LossWeights,
  config: Pick<Config, 'objective' | 'sft' | 'train' | 'optimizer' | 'onNonFinite'>,
  learningRate: number,
  key: UpdateKey = { seed: 0, step: 0 },
): Promise<UpdateResult> {
  const { model, reference, optimizer, shares, sums } = learner;
  const exchange = shares ?? sums;
  const { updatesPerBatch } = config.objective;
  const { correction, processes = alone, places = [...groups.keys()] } = key;
  const placed = groups.map((group, i) => ({ group, place: places[i]! }));
  const planned = groups.map(plannedResponses);
  let work = planWork(placed, planned, await totalsOf(planned, processes), weights, config);
  let micros = microBatches(work, rowOf, config.train.microBatch);
  // Whether a response is too far off is known when pi_old is, and decides the denominators.
  const frozenOld = updatesPerBatch > 1 || correction?.kind === 'mask';
  await processes.together(async () => {
    for (const micro of micros) {
      await droppable(key.signal, () => {
        if (frozenOld) for (const [item, values] of cut(logProbs(model, packable(micro)), micro)) item.old = values;
        if (reference)
          for (const [item, values] of cut(initialLogProbs(reference, packable(micro)), micro)) item.reference = values;
      });
      await setImmediate();
      key.signal?.throwIfAborted();
    }
  });

  const scored = work.reduce((sum, { items }) => sum + items.length, 0);
  let compared = correction ? rolloutsOf(work) : [];
  // Where no rollout takes part in the update some are scored all the same: a wrong server must not go unseen.
  if (correction && (await processes.max(compared.length)) === 0)
    compared = await watchRollouts(model, groups, config.train.microBatch.prompts, places, processes);
  if (correction?.kind === 'mask' && (await processes.max(measured(compared, correction).farOff)) > 0) {
    const left = withoutFarOff(planned, work, correction.cap);
    work = planWork(placed, left, await totalsOf(left, processes), weights, config, work);
    micros = microBatches(work, rowOf, config.train.microBatch);
  }

  // As many rounds as the process with the most has micro-batches.
  const rounds = await processes.max(micros.length);
  let gradientNorm = 0;
  let pass = noPass;
  let nonFinite: string | undefined;
  try {
    for (let update = 0; update < updatesPerBatch; update++) {
      optimizer.zeroGrad();
      pass = await processes.together(() =>
        forwardBackward(
          model,
          micros,
          {
            ...{ frozenOld, correction },
            recomputed: config.train.checkpointActivations,
            offloaded: config.train.offloadActivations,
          },
          {
            drawsOf: (micro) => drawsOf({ ...key, update }, micro),
            // Once the weights have moved the step is made to its end.
            signal: update === 0 ? key.signal : undefined,
            onMicro: (done) => key.onMicro?.(update * micros.length + done, updatesPerBatch * micros.length),
            together: exchange && { exchange, everyRound: exchange === shares, rounds, processes },
          },
        ),
      );
      // Where no response has a gradient nothing moves: gradients of zeros would have momentum and weight decay go on.
      if (rounds === 0) break;
      gradientNorm = await optimizerStep(learner, config.optimizer.clipNorm, learningRate, work);
    }
  } catch (error) {
    if (key.signal?.aborted && error === key.signal.reason) optimizer.zeroGrad();
    const isLeftOut = error instanceof NotFinite && config.onNonFinite !== 'stop';
    const isUndone = error instanceof Spoiled && config.onNonFinite === 'rollback';
    if (!isLeftOut && !isUndone) throw error;
    nonFinite = error.message;
    [gradientNorm, pass] = [NaN, { ...noPass, loss: NaN }];
  }
  optimizer.zeroGrad();
  const all = await addedUp(processes, {
    ...{ pass, scored, responses: planned.flat().length },
    mismatch: correction ? measured(compared, correction) : noMismatch,
  });
  return {
    loss: all.pass.loss,
    gradientNorm,
    oldLogProbs: new Map(
      work.flatMap(({ items }) => items.flatMap(({ response, old }) => (old ? [[response, old]] : []))),
    ),
    scored: all.scored,
    responses: all.responses,
    stats: all.pass.stats,
    mismatch: correction && all.mismatch,
    labelGradient: all.pass.pull.labels / all.pass.pull.all,
    nonFinite,
  };
}

/** What processes have of an update, or all of them together. */
interface Parts {
  readonly pass: Pass;
  readonly scored: number;
  readonly responses: number;
  readonly mismatch: Mismatch;
}

/** Of all processes. */
const addedUp = async (processes: Processes, own: Parts): Promise<Parts> =>
  (await processes.gather(own)).reduce((a, b) => ({
    pass: addPass(a.pass, b.pass),
    scored: a.scored + b.scored,
    responses: a.responses + b.responses,
    mismatch: addMismatch(a.mismatch, b.mismatch),
  }));

/** What a pass over micro-batches adds up to. */
interface Pass {
  readonly loss: number;
  readonly stats: ResponseStats;
  /** sum |d loss / d log pi| over tokens of labels, and of all responses. */
  readonly pull: { readonly labels: number; readonly all: number };
}

const noPass: Pass = { loss: 0, stats: noStats, pull: { labels: 0, all: 0 } };
const addPass = (a: Pass, b: Pass): Pass => ({
  loss: a.loss + b.loss,
  stats: addStats(a.stats, b.stats),
  pull: { labels: a.pull.labels + b.pull.labels, all: a.pull.all + b.pull.all },
});

/** What is kept of a forward pass: log pi_old of before, activations. */
interface Keeping {
  readonly frozenOld: boolean;
  readonly correction: Correction | undefined;
  readonly recomputed: boolean;
  readonly offloaded: boolean;
}

/** How micro-batches follow each other. */
interface Rounds {
  readonly drawsOf: (micro: readonly Work[]) => Draws;
  readonly signal: AbortSignal | undefined;
  readonly onMicro: (done: number) => void;
  readonly together: Together | undefined;
}

/** Of processes that exchange gradients: all make as many rounds, with a micro-batch or without. */
interface Together {
  readonly exchange: GradientShares | GradientSums;
  /** Whether gradients leave in every round; else in the last, to which those before have added. */
  readonly everyRound: boolean;
  readonly rounds: number;
  readonly processes: Processes;
}

/** Adds the gradient of the loss of all micro-batches, of all processes, to the `.grad` of the parameters, or to their shares. */
async function forwardBackward(
  model: VisionLanguageModel,
  micros: readonly (readonly Work[])[],
  keeping: Keeping,
  { drawsOf, signal, onMicro, together }: Rounds,
): Promise<Pass> {
  const { exchange, everyRound, rounds = micros.length, processes = alone } = together ?? {};
  let sum = noPass;
  for (let i = 0; i < rounds; i++) {
    const micro = micros[i];
    const watch = everyRound || i === rounds - 1 ? exchange : undefined;
    if (micro) {
      const draws = drawsOf(micro);
      const how = { ...keeping, watch, draws, isAlone: exchange === undefined };
      // What has begun to leave for other processes is not dropped; what is, all stop for below.
      const dropped = (error: unknown): Pass => {
        if (exchange && signal?.aborted && error === signal.reason) return noPass;
        throw error;
      };
      const pass = await droppable(watch ? undefined : signal, () =>
        withDropout(model, draws, () => deterministic(() => accumulateGradient(model, micro, how))),
      ).catch(dropped);
      sum = addPass(sum, pass);
      onMicro(i + 1);
    } else watch?.begin([]);
    await watch?.collect();
    await setImmediate();
    if (signal && (await processes.stops(signal))) throw signal.reason;
  }
  if (exchange) assertFinite(sum.loss, 'the loss', micros.flat());
  return sum;
}

/** Clips the gradient that has been added up, and moves the parameters. @returns its norm before clipping */
async function optimizerStep(
  { model, parameters, optimizer, shares }: Learner,
  clipNorm: number,
  learningRate: number,
  work: readonly Work[],
): Promise<number> {
  const norm = await (shares?.clip(clipNorm) ?? optim.clipGradNorm(parameters.values(), clipNorm));
  assertFinite(norm, 'the gradient', work);
  optimizer.learningRate = learningRate;
  optimizer.step();
  await shares?.spread();
  model.weightsChanged();
  if (!Number.isFinite(optim.largest(parameters.values()))) {
    throw new Spoiled(`the weights are not finite after an update with a learning rate of ${learningRate}`, {
      remedy:
        'Lower optimizer.learningRate; the last checkpoint is as it was, and onNonFinite: rollback goes back to it.',
    });
  }
  return norm;
}

/** Forward, objective, backward of one micro-batch. With a single update the current log-probabilities are the old ones. */
function accumulateGradient(
  model: VisionLanguageModel,
  micro: readonly Work[],
  how: Keeping & { readonly watch: GradientWatch | undefined; readonly draws: Draws; readonly isAlone: boolean },
): Pass {
  return scope(() => {
    const pass = model.trained(packable(micro), how);
    const scored = model.score(pass.hidden, pass.targets);
    const coefficients = new Float64Array(scored.logProbs.length);
    let [loss, stats, at] = [0, noStats, 0];
    const pull = { labels: 0, all: 0 };
    for (const [item, values] of cut(scored.logProbs, micro)) {
      const old = how.frozenOld ? item.old : undefined;
      const weights = weightsOf(item, old ?? values, how.correction);
      const response = evaluateResponse(item.plan, values, { old, reference: item.reference, weights });
      coefficients.set(response.coefficients, at);
      at += values.length;
      const own = response.coefficients.reduce((sum, each) => sum + Math.abs(each), 0);
      pull.all += own;
      if (isLabel(item.plan)) pull.labels += own;
      item.old ??= values.slice();
      loss += response.loss;
      stats = addStats(stats, response.stats);
    }
    // Other processes wait for a gradient, whatever it is.
    if (how.isAlone) assertFinite(loss, 'the loss', micro);
    pass.backward(scored.pullback(coefficients));
    return { loss, stats, pull };
  });
}

function assertFinite(value: number, what: string, work: readonly Work[]): void {
  if (Number.isFinite(value)) return;
  const ids = work.map(({ group }) => group.sample.id);
  throw new NotFinite(`${what} is ${value}`, {
    where: ids.length === 0 ? undefined : `samples ${ids.slice(0, 4).join(', ')}${ids.length > 4 ? ', ...' : ''}`,
    remedy:
      'lower optimizer.learningRate, check the checkpoint for non-finite weights, or train in float32; onNonFinite: skip ' +
      'or rollback goes on',
  });
}
