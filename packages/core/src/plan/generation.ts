/** Bytes of a rollout beside what is always there. Legend: as in activations.ts; R rows, one per answer. */
import { cacheCapacity, unpackedRoom } from '../budgets.ts';
import { packsWeights } from '../model/ready-weights.ts';
import { layerCounts } from '../model/recurrent-config.ts';
import {
  cacheItem,
  casts,
  context,
  float,
  half,
  hasFlash,
  itemOf,
  onCard,
  pixelBytes,
  streamItem,
  towerWork,
  unpackedMatrix,
} from './activations.ts';
import type { Parts } from './parts.ts';
import type { Subject } from './workload.ts';

export interface Answers {
  readonly prompts: number;
  /** Per prompt. */
  readonly group: number;
  /** Tokens of the longest answer. */
  readonly tokens: number;
  readonly greedy: boolean;
}

/** Bytes of keys and values, of prompts and answers. */
function cachedBytes(subject: Subject, { prompts, group, tokens }: Answers): number {
  const { text } = subject.model;
  const ofToken = layerCounts(text).attention * 2 * text.keyValueHeads * text.headSize * cacheItem(subject);
  return ofToken * (prompts * subject.workload.promptTokens + prompts * group * cacheCapacity(tokens));
}

/**
 * Bytes of weights in four bits that are numbers while tokens are decoded on a card (model/unpacked.ts).
 * @param held bytes that are always there
 */
export function unpackedWeights(subject: Subject, answers: Answers, held: number): number {
  const { sizes, model, config, card = 0 } = subject;
  if (!config.train.lora?.quantize || !onCard(subject)) return 0;
  const { layers } = model.text;
  const layer = (sizes.packable / layers) * itemOf(subject);
  const cached = cachedBytes(subject, answers);
  return layer * Math.min(layers, Math.floor(unpackedRoom(card - context - held - cached, cached) / layer));
}

/**
 * All prompts at once: prefill, then one token after the other for R rows.
 * @param resident bytes that are always there
 */
export function generation(subject: Subject, answers: Answers, resident: number): Parts {
  const { family, text, vision } = subject.model;
  const { prompts, group, tokens } = answers;
  const { promptTokens, patches } = subject.workload;
  const [rows, item, stream] = [prompts * group, itemOf(subject), streamItem(subject)];
  const [keys, queries] = [text.keyValueHeads * text.headSize, text.heads * text.headSize];
  const repeated = text.heads === text.keyValueHeads || onCard(subject) ? 0 : 2 * queries;
  const held = family.kept.recurrent?.(text, casts(subject));
  const layers = layerCounts(text);
  const mixing = Math.max(3 * queries + 2 * keys, (held?.working ?? 0) / 2);
  const perToken = 2 * text.hiddenSize * stream + mixing * float + 3 * text.intermediateSize * item;

  const images = prompts * pixelBytes(subject.model, patches);
  const tower = onCard(subject)
    ? prompts * patches * towerWork(subject)
    : 2 * images +
      prompts * patches * (vision.hiddenSize * (2 * stream + 4 * float) + 3 * vision.intermediateSize * item);
  const prefill = prompts * promptTokens * (perToken + repeated * float);
  // Kernels of ours and flash attention have no scores.
  const scores =
    !onCard(subject) || hasFlash(subject, text.headSize) ? 0 : 3 * rows * text.heads * (promptTokens + tokens);
  const decode = rows * (perToken + (3 * queries + 2 * keys - mixing) * float) + scores * float;
  const logits = logitsOf(subject, answers);
  const weights = unpackedWeights(subject, answers, resident);
  const decoding = decode + logits + weights;
  const largest = Math.max(prefill, decoding, tower);
  const cached = cachedBytes(subject, answers);
  const states = layers.recurrent * (held?.state ?? 0) * float * (prompts + rows);
  // The tower is done before there are any.
  if (onCard(subject) && tower > cached + states + Math.max(prefill, decoding))
    return { pixels: images, 'activations of the vision tower': tower };
  const unpacked = largest === tower ? 0 : unpackedMatrix(subject);
  return {
    pixels: images,
    'keys and values': cached,
    'recurrent states': states,
    'weights packed for decoding': onCard(subject)
      ? headCopy(subject) + (largest === decoding ? weights : 0)
      : packed(subject, rows),
    'activations of the vision tower': tower === largest ? tower : 0,
    'activations of the decoder': largest === prefill ? prefill : largest === decoding ? decode : 0,
    logits: largest === decoding ? logits : 0,
    'working memory': unpacked,
  };
}

/** Of the head in bfloat16, where its weights are in float32. */
const headCopy = ({ sizes, model: { text } }: Subject): number =>
  sizes.copied + sizes.masters > 0 ? half * text.vocabularySize * text.hiddenSize : 0;

/** Copies in another order, of the decoder and the head; those in bfloat16 take the place of other copies. */
function packed(subject: Subject, rows: number): number {
  const { sizes, model } = subject;
  const head = model.text.vocabularySize * model.text.hiddenSize;
  const decoder = sizes.all - sizes.vision - sizes.tables;
  if (!packsWeights(rows, itemOf(subject) * (head + decoder))) return 0;
  return itemOf(subject) * (head + (sizes.copied > 0 ? 0 : decoder));
}

/** Bytes of the logits of one token of every row. */
function logitsOf({ model, config }: Subject, { prompts, group, greedy }: Answers): number {
  const elements = prompts * group * model.text.vocabularySize;
  const { topP, topK, repetitionPenalty } = config.rollout;
  const products = config.precision === 'bfloat16' ? half : 0;
  // Logits, their log-probabilities, and both with what is forbidden.
  if (greedy) return elements * (products + 3 * float);
  const isPlain = config.device === 'cpu' && topP === 1 && topK === 0 && repetitionPenalty === 1;
  // Otherwise also probabilities in float32, and with their sums in float64.
  return elements * (products + (isPlain ? float : 4 * float + 2 * 8));
}
