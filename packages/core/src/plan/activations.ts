/**
 * Bytes of what a forward pass leaves behind for its gradient, counted tensor by tensor, as model/decoder.ts,
 * model/attention.ts, model/vision.ts and model/head.ts make them.
 *
 * Legend: N tokens of the packed rows of a micro-batch, of which `prefix` are prompts and `own` responses; L of a prompt, T of a
 * response; D width of the stream, A = heads * head size, C = key heads * head size, I width of the feed-forward layer, V vocabulary.
 */
import { chunkElements } from '../budgets.ts';
import { packedTokens, type Subject } from './workload.ts';

export const float = 4;
export const half = 2;

/** Bytes of an element that a product reads or writes. */
export const itemOf = ({ config }: Subject): number => (config.precision === 'bfloat16' ? half : float);

/** Bytes of the patches of a prompt's images. */
export function pixelBytes({ vision }: Subject['model'], patches: number): number {
  return patches * vision.inChannels * vision.temporalPatchSize * vision.patchSize ** 2 * float;
}

export interface Layer {
  /** Bytes that stay for the gradient. */
  readonly kept: number;
  /** While the layer works, freed when it is done. */
  readonly working: number;
}

/** A layer of the decoder, for one micro-batch. */
export function decoderLayer(subject: Subject): Layer {
  const { family, text } = subject.model;
  const { microBatch, promptTokens, responses, responseTokens } = subject.workload;
  const tokens = packedTokens(subject.workload);
  const [width, inner, item] = [text.hiddenSize, text.intermediateSize, itemOf(subject)];
  const [queries, keys] = [text.heads * text.headSize, text.keyValueHeads * text.headSize];
  const held = family.kept.layer(text, item === half);
  const onTokens = tokens * (float * held.stream + item * held.products);
  const feedForward = tokens * (3 * inner * item + 2 * width * float);
  if (subject.config.device === 'cpu') {
    // Our kernel keeps keys, values, a number per query and head, and its output before it is cast.
    const attended = tokens * float * (2 * keys + text.heads + (item === half ? queries : 0));
    return { kept: onTokens + attended, working: Math.max(feedForward, tokens * float * 4 * queries) };
  }
  const prefix = microBatch * promptTokens;
  const own = microBatch * responses * responseTokens;
  const scores = own * text.heads * (promptTokens + responseTokens) * float;
  // Plain attention keeps its output and reads keys and values repeated for every head; the shared prefix has them once more.
  const repeated = text.heads === text.keyValueHeads ? 0 : 2 * queries;
  const onPrefix = prefix * float * (queries + 2 * keys + repeated);
  const onOwn = own * float * (queries + 2 * keys);
  const attention = 3 * scores + tokens * 3 * queries * float;
  return { kept: onTokens + onPrefix + onOwn + scores, working: Math.max(feedForward, attention) };
}

/** What a block of the vision tower keeps of `patches`. */
export function visionBlock(subject: Subject, patches: number): number {
  const { family, vision } = subject.model;
  const { stream, products } = family.kept.tower(vision);
  return patches * (float * stream + itemOf(subject) * products);
}

/** Bytes of the gradient of the head's matrix, where it is trained. */
export const headGradient = ({ model: { text }, config }: Subject): number =>
  config.train.lora ? 0 : text.vocabularySize * text.hiddenSize * float;

/** Scoring and its gradient, chunk by chunk: two chunks of logits at a time, copies in bfloat16, and the rows that are scored. */
export function headPass({ model, sizes, workload, config }: Subject): number {
  const { vocabularySize: vocabulary, hiddenSize: width } = model.text;
  const scored = workload.microBatch * workload.responses * workload.responseTokens;
  const rows = Math.min(scored, Math.max(1, Math.floor(chunkElements / vocabulary)));
  const chunk = rows * vocabulary * float;
  // The weight for each of two products unless it is in bfloat16, and what is added to its gradient.
  const copies = (sizes.copied > 0 ? 2 : 0) + (config.precision === 'bfloat16' && !config.train.lora ? 1 : 0);
  return 2 * chunk + copies * vocabulary * width * half + 3 * scored * width * float;
}
