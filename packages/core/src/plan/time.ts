/**
 * Time of a step, in seconds, from counts of operations and the measured rate of products. A product with few rows runs at the rate of
 * such products; every operator costs its call, which is what small models consist of. Gradients and the optimiser move bytes.
 */
import { layerCounts } from '../model/recurrent-config.ts';
import { float } from './activations.ts';
import { packedTokens, type Subject } from './workload.ts';

export interface Rates {
  /** Floating-point operations per second of a product with that many rows. */
  product(rows: number): number;
  /** Seconds per call of an operator. */
  readonly call: number;
  /** Seconds per byte that an operator reads or writes. */
  readonly byte: number;
}

export interface TimePlan {
  /** Seconds of one step, by phase. */
  readonly generation: number;
  readonly update: number;
  /** Between processes (plan/processes.ts). */
  readonly communication: number;
  readonly step: number;
}

/** Share of the rate of products that whole layers reach, measured: attention, norms, activations and casts take the rest. */
export const efficiency = { float32: 0.9, bfloat16: 0.65, float64: 0.9 };
/** Operator calls of a decoder layer, forward. */
const callsPerLayer = 45;
const callsPerToken = 40;

/**
 * What is read and written of every trained weight: a gradient is written and added to that of the micro-batches before; the
 * norm reads it, clipping scales it, the step reads it with the weight and two moments and writes those, a check reads it.
 */
const movedOnce = 1 + 3;
const movedByStep = { adamw: 1 + 2 + 4 + 3 + 1, sgd: 1 + 2 + 2 + 1 + 1 };

export function planTime(subject: Subject, rates: Rates): TimePlan {
  const { model, sizes, workload, config, frozenVision, shards = 1 } = subject;
  const { text } = model;
  const { prompts, microBatch, promptTokens, patches, group, responses, responseTokens } = workload;
  const decoder = sizes.all - sizes.vision - sizes.tables;
  const head = text.vocabularySize * text.hiddenSize;
  const seconds = (operations: number, rows: number): number =>
    operations / (rates.product(rows) * efficiency[config.precision]);
  const attended = layerCounts(text).attention * text.heads * text.headSize * 4;
  // A and B of adapters: products that are as narrow as their rank.
  const { lora } = config.train;
  const adapted = (tokens: number): number =>
    lora ? seconds(2 * sizes.trainable * tokens, Math.min(lora.rank, tokens)) : 0;

  const tower = 2 * sizes.vision * patches * prompts;
  const prefill = 2 * decoder * promptTokens * prompts + (attended / 2) * promptTokens ** 2 * prompts;
  const rows = prompts * group;
  const oneToken = 2 * (decoder + head) * rows + attended * (promptTokens + responseTokens / 2) * rows;
  const decodeCalls = rates.call * (text.layers * callsPerLayer + callsPerToken);
  const generation =
    group === 0 || config.rollout.backend !== 'local'
      ? 0
      : seconds(tower, patches * prompts) +
        seconds(prefill, promptTokens * prompts) +
        adapted(promptTokens * prompts) +
        responseTokens * (seconds(oneToken, rows) + adapted(rows) + decodeCalls);

  const tokens = (packedTokens(workload) / microBatch) * prompts;
  const own = prompts * responses * responseTokens;
  const scores = attended * (own * (promptTokens + responseTokens) + (prompts * promptTokens ** 2) / 2);
  const forward = 2 * decoder * tokens + scores;
  const recomputed = config.train.checkpointActivations ? 1 : 0;
  const chunks = own * text.vocabularySize > 1 << 24 ? 4 : 3;
  // Without gradients of frozen weights a backward pass is one product per layer, not two.
  const backward = lora ? 1 : 2;
  const passes = 1 + recomputed + backward;
  const extra = (config.objective.updatesPerBatch > 1 ? 1 : 0) + (config.objective.kl.coefficient > 0 ? 1 : 0);
  const towerPasses = frozenVision ? 0 : passes;
  const micro = Math.ceil(prompts / microBatch);
  const once =
    seconds(passes * forward + towerPasses * tower + chunks * 2 * head * own, packedTokens(workload)) +
    (3 + recomputed) * adapted(tokens) +
    micro * passes * rates.call * text.layers * callsPerLayer * 1.5 +
    (micro * movedOnce + movedByStep[config.optimizer.name] / shards) * float * sizes.trainable * rates.byte;
  const others = extra * seconds(forward + 2 * head * own, packedTokens(workload));
  const update = config.objective.updatesPerBatch * once + others;
  return { generation, update, communication: 0, step: generation + update };
}
