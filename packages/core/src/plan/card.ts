/**
 * Time of a step on a card, phase by phase: each takes as long as what binds it, the bytes that it moves, the operations of
 * its products, or the launches of its kernels. Counted from shapes; launches as the dry run counts them (bench/cuda).
 */
import { layerCounts } from '../model/recurrent-config.ts';
import { cacheItem, casts, float, half, itemOf, streamItem, together } from './activations.ts';
import { unpackedWeights } from './generation.ts';
import type { CardMachine } from './machines.ts';
import { residentParts } from './memory.ts';
import { packedTokens, type Subject } from './workload.ts';

export interface PhaseTime {
  readonly name: string;
  readonly seconds: number;
  readonly binds: 'bandwidth' | 'launches' | 'operations';
}

export interface CardTime {
  readonly step: number;
  readonly generation: number;
  readonly update: number;
  /** Between cards (plan/cards.ts), what is not hidden. */
  readonly communication: number;
  /** They add up to the step. */
  readonly phases: readonly PhaseTime[];
}

/** What would shorten the longest phase, by what binds it. */
export function hasten(phases: readonly PhaseTime[]): string {
  const longest = phases.reduce((a, b) => (b.seconds > a.seconds ? b : a));
  if (longest.name === 'communication')
    return 'communication takes longest: a faster network, train.lora, or fewer, larger micro-batches';
  if (longest.name === patching)
    return 'images on the host take longest: fewer or smaller images (data.maxPixels), or a host with faster cores';
  const change = {
    launches: 'more rows at once, which cost nothing then: promptsPerStep, rollout.group, train.microBatch.prompts',
    bandwidth: 'precision=bfloat16, more rows for each reading of the weights, or a card with faster memory',
    operations: 'fewer or smaller images (data.maxPixels), shorter answers, train.lora, or a faster card',
  }[longest.binds];
  return `${longest.name} takes longest, bound by ${longest.binds}: ${change}`;
}

/** What of a card's own figures an update reaches, as steps of the 3B on an H200 took (docs/gpu.md). */
export const reached = { bandwidth: 0.38, operations: 0.4 };

/** Bytes per second between a card and its host, with waiting for each copy; assumed. */
export const reachedHost = 10e9;

/** Seconds for a pixel of images that the host cuts into patches, on one core, as 16 of 1120 x 700 took it (docs/gpu.md). */
export const perPixel = 29e-9;

/** Kernels that the dry run counts. */
const launches = {
  /** Of a layer, for one token of all rows, and more with LoRA; of a layer's, products with its weights. */
  decoded: { layer: 21, lora: 16, token: 49, products: 5 },
  /** Of numbers in four bits that are unpacked together. */
  unpacked: 3,
  /** Of a layer, forward; a backward pass has twice as many. */
  layer: { layer: 40, lora: 45 },
  block: 40,
  optimiser: 40,
};

/** Bytes that move between products, forward and backward, for each byte that is kept. */
const traffic = 8;

interface Demand {
  readonly bytes: number;
  readonly operations: number;
  readonly launches: number;
}

export function planCardTime(subject: Subject, machine: CardMachine, keptPerToken: number): CardTime {
  const { precision } = subject.config;
  // Bytes are counted in float32.
  const twice = precision === 'float64' ? 2 : 1;
  const timeOf = (name: string, demand: Demand): PhaseTime => {
    const rate = name === waiting ? reachedHost : machine.bandwidth * reached.bandwidth;
    const seconds = {
      bandwidth: (twice * demand.bytes) / rate,
      launches: demand.launches * machine.launch,
      operations: demand.operations / (machine.rates[precision] * reached.operations),
    };
    const [binds] = (['bandwidth', 'launches', 'operations'] as const).toSorted((a, b) => seconds[b] - seconds[a]);
    return { name, seconds: seconds[binds!], binds: binds! };
  };
  const generation = Object.entries(generationDemand(subject)).map(([name, each]) => timeOf(name, each));
  const update = Object.entries(updateDemand(subject, keptPerToken)).map(([name, each]) => timeOf(name, each));
  const { workload, model } = subject;
  const pixels = workload.prompts * workload.patches * model.vision.patchSize ** 2;
  // Before the card has anything to do; a step without rollouts waits for it, too.
  const host: PhaseTime = { name: patching, seconds: pixels * perPixel, binds: 'operations' };
  const phases = [host, ...generation, ...update].filter(({ seconds }) => seconds > 0);
  const sum = (each: readonly PhaseTime[]): number => each.reduce((total, { seconds }) => total + seconds, 0);
  const sampled = workload.group > 0;
  const [first, second] = [sum(generation) + (sampled ? host.seconds : 0), sum(update) + (sampled ? 0 : host.seconds)];
  return { step: first + second, generation: first, update: second, communication: 0, phases };
}

/** Streams that wait on the host. */
const waiting = 'streams to the host and back';
const patching = 'images on the host';

/**
 * Bytes that a card moves for a number in four bits before its product reads it: half of a byte's index and the number in
 * float32 are written and read, and what it becomes is written.
 */
const unpackedBytes = (item: number): number => 1 / 2 + 2 * 2 + 2 * float + item;

/** Of every reading of the decoder's weights; nothing where they are read as they are. */
function unpacking({ sizes, model: { text }, config }: Subject, item: number): { bytes: number; launches: number } {
  if (!config.train.lora?.quantize) return { bytes: 0, launches: 0 };
  // Seven matrices to a layer, each with a rest of its own.
  const pieces = 7 * text.layers + sizes.packable / together;
  return { bytes: sizes.packable * unpackedBytes(item), launches: launches.unpacked * pieces };
}

/** The share of the weights in four bits that every token unpacks anew. */
function packedShare(subject: Subject): number {
  const { workload, sizes } = subject;
  const answers = { prompts: workload.prompts, group: workload.group, tokens: workload.responseTokens, greedy: false };
  const resident = Object.values(residentParts(subject)).reduce((sum, bytes) => sum + bytes, 0);
  return 1 - unpackedWeights(subject, answers, resident) / (sizes.packable * itemOf(subject));
}

const none: Demand = { bytes: 0, operations: 0, launches: 0 };

/** Weights of the decoder without its tables, and the head. */
function parts({ model: { text }, sizes }: Subject): { decoder: number; head: number } {
  return { decoder: sizes.all - sizes.vision - sizes.tables, head: text.vocabularySize * text.hiddenSize };
}

type GenerationPhase =
  'images' | 'prefill' | 'decoding: products' | 'decoding: attention' | 'decoding: between products';

function generationDemand(subject: Subject): Record<GenerationPhase, Demand> {
  const { model, sizes, workload, config } = subject;
  const { family, text, vision } = model;
  const { prompts, promptTokens, patches, group, responseTokens } = workload;
  if (group === 0)
    return {
      ...{ images: none, prefill: none },
      ...{ 'decoding: products': none, 'decoding: attention': none, 'decoding: between products': none },
    };
  const item = itemOf(subject);
  const { decoder, head } = parts(subject);
  const [rows, tokens] = [prompts * group, prompts * promptTokens];
  const attended = layerCounts(text).attention * text.heads * text.headSize * 4;
  const lora = config.train.lora ? launches.decoded.lora : 0;
  const layers = layerCounts(text);
  const cached = layers.attention * 2 * text.keyValueHeads * text.headSize * cacheItem(subject);
  // Read and written with every token.
  const states = 2 * layers.recurrent * (family.kept.recurrent?.(text, casts(subject)).state ?? 0) * float;
  const unpacked = unpacking(subject, item);
  const anew = responseTokens * packedShare(subject) + 1;
  const large = text.layers * launches.decoded.products + 1;
  const small = text.layers * (launches.decoded.layer + lora) + launches.decoded.token - large;
  const width = (2 * text.hiddenSize + text.intermediateSize) * item * 8;
  return {
    images: {
      bytes:
        sizes.vision * item +
        prompts * patches * vision.depth * (2 * vision.hiddenSize + vision.intermediateSize) * item * 8,
      operations: 2 * sizes.vision * patches * prompts,
      launches: patches > 0 ? vision.depth * launches.block : 0,
    },
    prefill: {
      bytes: decoder * item + unpacked.bytes + tokens * text.layers * width,
      operations: 2 * decoder * tokens + (attended / 2) * promptTokens * tokens,
      launches: text.layers * (launches.layer.layer + lora),
    },
    // Kernels follow each other: what large ones move and what small ones cost to launch adds up.
    'decoding: products': {
      bytes: responseTokens * (decoder + head) * item + anew * unpacked.bytes,
      operations: responseTokens * rows * 2 * (decoder + head),
      launches: responseTokens * large,
    },
    'decoding: attention': {
      // Caches are read as far as they reach, filled or not.
      bytes: responseTokens * (cached * (prompts * promptTokens + rows * responseTokens) + rows * states),
      operations: responseTokens * rows * attended * (promptTokens + responseTokens / 2),
      launches: 0,
    },
    'decoding: between products': {
      bytes: 0,
      operations: 0,
      launches: responseTokens * small + anew * unpacked.launches,
    },
  };
}

type UpdatePhase =
  'image tower' | 'layers: products' | 'layers: between products' | typeof waiting | 'logits' | 'optimiser';

/** Bytes for a trained weight of every micro-batch: casts, its gradient and adding that up. */
const perWeight = { read: float + half, gradient: half + (half + float) + 3 * float };

function updateDemand(subject: Subject, keptPerToken: number): Record<UpdatePhase, Demand> {
  const { model, sizes, workload, config, frozenVision, shards = 1 } = subject;
  const { text, vision } = model;
  const { prompts, microBatch, promptTokens, patches, responses, responseTokens } = workload;
  const { decoder, head } = parts(subject);
  const item = itemOf(subject);
  const { lora, checkpointActivations, offloadActivations } = config.train;
  const micro = Math.ceil(prompts / microBatch);
  const updates = config.objective.updatesPerBatch;
  const scoring = (updates > 1 ? 1 : 0) + (config.objective.kl.coefficient > 0 ? 1 : 0);
  // Forward, forward again, and backward: of frozen weights one product, of others two.
  const passes = updates * (1 + (checkpointActivations ? 1 : 0) + (lora ? 1 : 2)) + scoring;
  const kept = updates * (checkpointActivations ? 4 / 3 : 1) + scoring / 3;
  const tokens = (packedTokens(workload) / microBatch) * prompts;
  const own = prompts * responses * responseTokens;
  const attended = layerCounts(text).attention * text.heads * text.headSize * 4;
  const scores = attended * (own * (promptTokens + responseTokens / 2) + (prompts * promptTokens ** 2) / 2);
  const kernels =
    micro * text.layers * (launches.layer.layer + (lora ? launches.layer.lora : 0)) * (updates * 3 + scoring);
  const { name, states } = config.optimizer;
  const moved = name === 'sgd' ? 4 : states === '8bit' ? 30 : 8;
  const tower = frozenVision ? 0 : passes;
  const towerPatches = frozenVision ? 0 : patches;
  const reads = checkpointActivations ? 2 : 1;
  const read = sizes.masters > 0 ? 0 : reads * perWeight.read;
  const perMicro = lora ? 0 : updates * (read + perWeight.gradient);
  const streams = tokens * text.layers * text.hiddenSize + prompts * towerPatches * vision.depth * vision.hiddenSize;
  const perPatch = (2 * vision.hiddenSize + vision.intermediateSize) * item * traffic;
  return {
    'image tower': {
      bytes: tower * prompts * patches * vision.depth * perPatch + (frozenVision ? 0 : micro * perMicro * sizes.vision),
      operations: tower * 2 * sizes.vision * patches * prompts,
      launches: tower * micro * vision.depth * launches.block,
    },
    'layers: products': {
      bytes: micro * passes * (decoder * item + unpacking(subject, item).bytes),
      operations: passes * (2 * decoder * tokens + scores),
      launches: kernels / 4,
    },
    'layers: between products': {
      bytes: kept * traffic * tokens * text.layers * keptPerToken + micro * perMicro * decoder,
      operations: 0,
      launches: (kernels * 3) / 4,
    },
    [waiting]: {
      bytes: offloadActivations ? 2 * updates * streamItem(subject) * streams : 0,
      operations: 0,
      launches: 0,
    },
    logits: {
      bytes: (4 * updates + scoring) * own * text.vocabularySize * 3 * float,
      operations: ((lora ? 3 : 4) * updates + scoring) * 2 * head * own,
      launches: micro * 60,
    },
    optimiser: {
      // Gradient, weight and two moments are read, the last three written; moments in 8 bits go through a chain of operators.
      bytes: (updates * sizes.trainable * float * moved) / shards,
      operations: 0,
      launches: updates * launches.optimiser,
    },
  };
}
