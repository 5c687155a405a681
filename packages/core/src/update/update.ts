/**
 * From advantages to new weights: log-probabilities in micro-batches, one backward pass each with the coefficients of
 * the objective, then clip and step. Cutting a batch differently changes nothing but rounding: denominators are those
 * of the whole batch and are known before the first forward pass.
 */
import { setImmediate } from 'node:timers/promises';

import { deterministic, droppable, noGrad, optim, scope, type Tensor } from '@visurf/torch';

import type { Config } from '../config/schema.ts';
import { alone, type Processes } from '../distributed/processes.ts';
import { NotFinite } from '../errors.ts';
import { asReference, withDropout } from '../model/lora.ts';
import type { PromptWithResponses } from '../model/pack.ts';
import type { QwenVL } from '../model/qwen.ts';
import {
  addTotals,
  batchTotals,
  evaluateResponse,
  isLabel,
  planGroup,
  plannedResponses,
  type PlannedResponse,
  type ResponsePlan,
  type ResponseStats,
  type BatchTotals,
  type LossWeights,
} from '../objective/objective.ts';
import type { PlacedGroup } from '../rollout/dynamic.ts';
import { philox } from '../rollout/philox.ts';
import type { Group, Prompt, Response } from '../types.ts';
import { microBatches, type RowSize } from './microbatch.ts';

export interface Learner {
  readonly model: QwenVL;
  /**
   * Frozen reference policy; present where a KL penalty acts. With LoRA it is the model itself: its adapters are switched
   * off, or are as they were at the start.
   */
  readonly reference: QwenVL | undefined;
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly optimizer: optim.Optimizer;
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
  /** Share of sum |d loss / d log pi| over tokens that comes from labels, of the last inner update; NaN without a gradient. */
  readonly labelGradient: number;
  /** What was not finite, where that update was left out; loss and norm are then NaN. */
  readonly nonFinite?: string | undefined;
}

/** A response together with its plan and what is known of its log-probabilities. */
interface Item {
  readonly response: Response;
  readonly plan: ResponsePlan;
  old: Float64Array | undefined;
  reference: Float64Array | undefined;
}

interface Work {
  readonly group: Group;
  readonly items: readonly Item[];
}

const noStats: ResponseStats = { tokens: 0, clippedLow: 0, clippedHigh: 0, ratioSum: 0, klSum: 0, klClamped: 0 };
const addStats = (a: ResponseStats, b: ResponseStats): ResponseStats => ({
  tokens: a.tokens + b.tokens,
  clippedLow: a.clippedLow + b.clippedLow,
  clippedHigh: a.clippedHigh + b.clippedHigh,
  ratioSum: a.ratioSum + b.ratioSum,
  klSum: a.klSum + b.klSum,
  klClamped: a.klClamped + b.klClamped,
});

/** The row that a prompt and those of its responses that are scored become. */
const rowOf = ({ group, items }: Work): RowSize => ({
  prompt: group.prompt.inputIds.length,
  responses: items.length,
  tokens: items.reduce((most, { plan }) => Math.max(most, plan.tokens), 0),
});

const packable = (work: readonly Work[]): PromptWithResponses[] =>
  work.map(({ group, items }) => ({
    prompt: group.prompt,
    responses: items.map(({ response }) => response.tokens),
  }));

/** Cuts flat log-probabilities [N] into those of each item, in order. */
function cut(flat: Float64Array, work: readonly Work[]): [Item, Float64Array][] {
  let at = 0;
  return work.flatMap(({ items }) =>
    items.map((item): [Item, Float64Array] => [item, flat.subarray(at, (at += item.plan.tokens))]),
  );
}

/** Log-probabilities without a gradient, of prompts with all their responses. */
export function logProbs(model: QwenVL, items: readonly PromptWithResponses[]): Float64Array {
  return scope(() =>
    noGrad(() => {
      const { hidden, targets } = model.hidden(items);
      return model.score(hidden, targets).logProbs;
    }),
  );
}

/** log pi of each response to one prompt. */
export function responseLogProbs(model: QwenVL, prompt: Prompt, responses: readonly Response[]): number[] {
  const flat = Array.from(logProbs(model, [{ prompt, responses: responses.map(({ tokens }) => tokens) }]));
  return responses.map(({ tokens }) => flat.splice(0, tokens.length).reduce((a, b) => a + b, 0));
}

/**
 * Mean log pi of labels that control switched off, NaN without any: of some, as many as are in memory at once, so that
 * watching costs little. Of several processes the first labels of the whole batch are taken.
 */
export async function inactiveLogProb(
  model: QwenVL,
  groups: readonly PlacedGroup[],
  atOnce: number,
  processes: Processes = alone,
): Promise<number> {
  const inactive = groups.flatMap(({ place, group: { prompt, label } }) =>
    label?.place === 'member' && !label.active ? [{ place, prompt, responses: [label.response.tokens] }] : [],
  );
  const places = (await processes.gather(inactive.map(({ place }) => place))).flat().sort((a, b) => a - b);
  const watched = inactive.filter(({ place }) => places.indexOf(place) < atOnce);
  const own = watched.length === 0 ? 0 : logProbs(model, watched).reduce((a, b) => a + b, 0);
  const [sum, count] = await processes.sum([own, watched.length]);
  return count === 0 ? NaN : sum! / count!;
}

const initialLogProbs = (reference: QwenVL, items: readonly PromptWithResponses[]): Float64Array =>
  asReference(reference, () => logProbs(reference, items));

/** Which step's dropout (LoRA) it is. */
export interface DropoutKey {
  readonly seed: number;
  readonly step: number;
}

export interface UpdateKey extends DropoutKey {
  /** When aborted before the weights have moved, nothing of the update happens. */
  readonly signal?: AbortSignal | undefined;
  /** Hears of micro-batches that are done, of how many. */
  readonly onMicro?: ((done: number, all: number) => void) | undefined;
  /** That learn together, each from groups of its own. */
  readonly processes?: Processes;
}

/** 32 bits for each micro-batch, of all processes. */
const dropoutSeed = ({ seed, step, processes = alone }: UpdateKey, update: number, micro: number): number =>
  philox([step, update, micro * processes.size + processes.rank, 0], [seed >>> 0, 0xd20])[0];

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
  const { model, reference, parameters, optimizer } = learner;
  const { updatesPerBatch } = config.objective;
  const { processes = alone } = key;
  const planned = groups.map(plannedResponses);
  const totals = await totalsOf(planned, processes);
  const all = groups.map((group, i): Work => {
    const responses = planned[i] ?? [];
    const plans = planGroup(responses, totals, weights, config.objective, config.sft);
    const items = plans.map((plan, j): Item => {
      return { response: responses[j]!.response, plan, old: undefined, reference: undefined };
    });
    return { group, items };
  });
  const work = all
    .map(({ group, items }) => ({ group, items: items.filter(({ plan }) => plan.needsGradient) }))
    .filter(({ items }) => items.length > 0);

  const micros = microBatches(work, rowOf, config.train.microBatch);
  await processes.together(async () => {
    for (const micro of micros) {
      await droppable(key.signal, () => {
        if (updatesPerBatch > 1)
          for (const [item, values] of cut(logProbs(model, packable(micro)), micro)) item.old = values;
        if (reference)
          for (const [item, values] of cut(initialLogProbs(reference, packable(micro)), micro)) item.reference = values;
      });
      await setImmediate();
      key.signal?.throwIfAborted();
    }
  });

  const isIdle = (await processes.max(work.length)) === 0;
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
            frozenOld: updatesPerBatch > 1,
            recomputed: config.train.checkpointActivations,
            offloaded: config.train.offloadActivations,
          },
          (i) => dropoutSeed(key, update, i),
          // Once the weights have moved the step is made to its end.
          update === 0 ? key.signal : undefined,
          (done) => key.onMicro?.(update * micros.length + done, updatesPerBatch * micros.length),
        ),
      );
      if (isIdle) break;
      await processes.addGradients(parameters.values());
      gradientNorm = optimizerStep(learner, config.optimizer.clipNorm, learningRate, work);
    }
  } catch (error) {
    if (key.signal?.aborted && error === key.signal.reason) optimizer.zeroGrad();
    if (!(error instanceof NotFinite) || config.onNonFinite === 'stop') throw error;
    nonFinite = error.message;
    [gradientNorm, pass] = [NaN, { ...noPass, loss: NaN }];
  }
  optimizer.zeroGrad();
  const { sum, scored, responses } = await addedUp(processes, pass, {
    scored: work.reduce((all, { items }) => all + items.length, 0),
    responses: planned.flat().length,
  });
  return {
    loss: sum.loss,
    gradientNorm,
    oldLogProbs: new Map(
      work.flatMap(({ items }) => items.flatMap(({ response, old }) => (old ? [[response, old]] : []))),
    ),
    scored,
    responses,
    stats: sum.stats,
    labelGradient: sum.pull.labels / sum.pull.all,
    nonFinite,
  };
}

/** Denominators of the whole batch. */
async function totalsOf(planned: readonly (readonly PlannedResponse[])[], processes: Processes): Promise<BatchTotals> {
  return (await processes.gather(batchTotals(planned))).reduce(addTotals);
}

interface Counts {
  readonly scored: number;
  readonly responses: number;
}

/** Of all processes. */
async function addedUp(processes: Processes, pass: Pass, counts: Counts): Promise<Counts & { readonly sum: Pass }> {
  const all = await processes.gather({ pass, ...counts });
  return {
    sum: all.map((each) => each.pass).reduce(addPass),
    scored: all.reduce((sum, each) => sum + each.scored, 0),
    responses: all.reduce((sum, each) => sum + each.responses, 0),
  };
}

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
  readonly recomputed: boolean;
  readonly offloaded: boolean;
}

/** Adds the gradient of the loss of all micro-batches to the `.grad` of the parameters. */
async function forwardBackward(
  model: QwenVL,
  micros: readonly (readonly Work[])[],
  how: Keeping,
  dropout: (micro: number) => number,
  signal: AbortSignal | undefined,
  onMicro: (done: number) => void,
): Promise<Pass> {
  let sum = noPass;
  for (const [i, micro] of micros.entries()) {
    const pass = await droppable(signal, () =>
      withDropout(model, dropout(i), () => deterministic(() => accumulateGradient(model, micro, how))),
    );
    sum = addPass(sum, pass);
    onMicro(i + 1);
    await setImmediate();
    signal?.throwIfAborted();
  }
  return sum;
}

/** Clips the gradient that has been added up, and moves the parameters. @returns its norm before clipping */
function optimizerStep(
  { model, parameters, optimizer }: Learner,
  clipNorm: number,
  learningRate: number,
  work: readonly Work[],
): number {
  const norm = optim.clipGradNorm(parameters.values(), clipNorm);
  assertFinite(norm, 'the gradient', work);
  optimizer.learningRate = learningRate;
  optimizer.step();
  model.weightsChanged();
  return norm;
}

/** Forward, objective, backward of one micro-batch. With a single update the current log-probabilities are the old ones. */
function accumulateGradient(model: QwenVL, micro: readonly Work[], how: Keeping): Pass {
  return scope(() => {
    const pass = model.trained(packable(micro), how.recomputed, how.offloaded);
    const scored = model.score(pass.hidden, pass.targets);
    const coefficients = new Float64Array(scored.logProbs.length);
    let [loss, stats, at] = [0, noStats, 0];
    const pull = { labels: 0, all: 0 };
    for (const [item, values] of cut(scored.logProbs, micro)) {
      const old = how.frozenOld ? item.old : undefined;
      const response = evaluateResponse(item.plan, values, { old, reference: item.reference });
      coefficients.set(response.coefficients, at);
      at += values.length;
      const own = response.coefficients.reduce((sum, each) => sum + Math.abs(each), 0);
      pull.all += own;
      if (isLabel(item.plan)) pull.labels += own;
      item.old ??= values.slice();
      loss += response.loss;
      stats = addStats(stats, response.stats);
    }
    assertFinite(loss, 'the loss', micro);
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
