/**
 * Bytes of what a forward pass leaves behind for its gradient, counted tensor by tensor, as model/decoder.ts,
 * model/attention.ts, model/vision.ts and model/head.ts make them.
 *
 * Legend: N tokens of the packed rows of a micro-batch, of which `prefix` are prompts and `own` responses; L of a prompt, T of a
 * response; D width of the stream, A = heads * head size, C = key heads * head size, I width of the feed-forward layer, V vocabulary.
 */
import { chunkElements } from '../budgets.ts';
import { layerCounts } from '../model/recurrent-config.ts';
import { hasFlashAttention } from '../model/sequences.ts';
import { packedTokens, type Subject } from './workload.ts';

export const float = 4;
export const half = 2;

/** What CUDA takes of a card before the first tensor. */
export const context = 500e6;

/** Bytes of an element that a product reads or writes. */
export const itemOf = ({ config }: Pick<Subject, 'config'>): number => (config.precision === 'bfloat16' ? half : float);

/** Bytes of an element of the stream between layers. */
export const streamItem = ({ config }: Subject): number => (config.stream === 'bfloat16' ? half : float);

/** Whether products read casts of the stream, each its own. */
export const casts = (subject: Subject): boolean => itemOf(subject) !== streamItem(subject);

/** Bytes of the patches of a prompt's images. */
export function pixelBytes({ vision }: Subject['model'], patches: number): number {
  return patches * vision.inChannels * vision.temporalPatchSize * vision.patchSize ** 2 * float;
}

/** Whether the memory that is planned is a card's, which has other kernels and nothing of the host's. */
export const onCard = ({ config }: Pick<Subject, 'config'>): boolean => config.device !== 'cpu';

/** Whether attention is libtorch's flash attention, which reads and keeps bfloat16. */
export const hasFlash = ({ config }: Subject, headSize: number): boolean =>
  onCard({ config }) && hasFlashAttention('cuda', config.precision, headSize);

/** Bytes of an element of a rollout's keys and values. */
export const cacheItem = (subject: Subject): number => (hasFlash(subject, subject.model.text.headSize) ? half : float);

export interface Layer {
  /** Bytes that stay for the gradient. */
  readonly kept: number;
  /** While the layer works, freed when it is done. */
  readonly working: number;
}

/** A layer of attention, for one micro-batch. */
function attentionLayer(subject: Subject): Layer {
  const { family, text } = subject.model;
  const { microBatch, promptTokens, responses, responseTokens } = subject.workload;
  const tokens = packedTokens(subject.workload);
  const [width, inner, item, stream] = [text.hiddenSize, text.intermediateSize, itemOf(subject), streamItem(subject)];
  const [queries, keys] = [text.heads * text.headSize, text.keyValueHeads * text.headSize];
  const held = family.kept.layer(text, casts(subject));
  const onTokens = tokens * (stream * held.stream + float * held.attention + item * held.products);
  const feedForward = tokens * (3 * inner * item + 2 * width * stream);
  // Where SwiGLU is a chain, the gate is kept before and after its activation.
  const chained = tokens * inner * item;
  if (hasFlash(subject, text.headSize)) {
    // In bfloat16, which is also what the product after it reads: queries, and keys and values of every sequence.
    const sequences = microBatch * (promptTokens + responses * (promptTokens + responseTokens));
    const attended = tokens * (half * queries + float * text.heads) + sequences * 2 * half * keys;
    return { kept: onTokens - tokens * float * queries + chained + attended, working: feedForward };
  }
  if (!onCard(subject)) {
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
  return { kept: onTokens + chained + onPrefix + onOwn + scores, working: Math.max(feedForward, attention) };
}

/** A layer with a recurrent state, for one micro-batch: every prompt and every response has one in front of it. */
function recurrentLayer(subject: Subject): Layer {
  const { family, text } = subject.model;
  const { microBatch, responses } = subject.workload;
  const item = itemOf(subject);
  const tokens = packedTokens(subject.workload);
  const held = family.kept.recurrent?.(text, casts(subject));
  if (!held) return { kept: 0, working: 0 };
  const states = microBatch * (1 + responses) * float * held.state;
  const kept = tokens * (streamItem(subject) * held.stream + float * held.attention + item * held.products) + states;
  return { kept, working: tokens * float * held.working };
}

/** Numbers that a card unpacks at a time (native/nf4.cc). */
export const together = 1 << 22;

/** Bytes of a matrix that is unpacked for its product, and on a card of indices and numbers in float32 on the way. */
export function unpackedMatrix(subject: Subject): number {
  if (!subject.config.train.lora?.quantize) return 0;
  const { widest } = subject.sizes;
  return widest * itemOf(subject) + (onCard(subject) ? Math.min(together, widest) * (half + float) : 0);
}

/** All layers of the decoder: what they keep together, and the most that one of them keeps and works with. */
export function decoderLayers(subject: Subject): Layer & { readonly one: number } {
  const { attention, recurrent } = layerCounts(subject.model.text);
  const kinds = [
    { count: attention, layer: attentionLayer(subject) },
    { count: recurrent, layer: recurrentLayer(subject) },
  ].filter(({ count }) => count > 0);
  const most = (of: (layer: Layer) => number): number => Math.max(...kinds.map(({ layer }) => of(layer)));
  return {
    kept: kinds.reduce((sum, { count, layer }) => sum + count * layer.kept, 0),
    one: most(({ kept }) => kept),
    working: most(({ working }) => working) + unpackedMatrix(subject),
  };
}

/** What a block of the vision tower keeps of `patches`. */
export function visionBlock(subject: Subject, patches: number): number {
  const { family, vision } = subject.model;
  const { stream, attention, products } = family.kept.tower(vision);
  const [width, inner, item] = [vision.hiddenSize, vision.intermediateSize, itemOf(subject)];
  const beside = streamItem(subject) * stream + float * attention;
  if (!onCard(subject)) return patches * (beside + item * products);
  // Flash attention keeps queries, keys and values in bfloat16, and nothing else but its output, which the product reads.
  const others = hasFlash(subject, width / vision.heads) ? 3 * half * width - 4 * float * width : 0;
  return patches * (beside + item * (products + inner) + others);
}

/**
 * Bytes of a patch while a block of the tower works without a graph on a card: what the block makes is freed when it is done.
 * The stream, both norms and both sums; in float32 rotated queries and keys; for products the norms, queries, keys and
 * values, and what each gives; what flash attention reads; the gate, before and after its activation, times the rest.
 */
export function towerWork(subject: Subject): number {
  const { hiddenSize: width, intermediateSize: inner, heads } = subject.model.vision;
  const item = itemOf(subject);
  const copies = casts(subject) ? 2 : 0;
  const flash = hasFlash(subject, width / heads) ? 3 * half * width : 0;
  return (5 * streamItem(subject) + 2 * float) * width + item * ((6 + copies) * width + 4 * inner) + flash;
}

/** Bytes of the gradient of the head's matrix, where it is trained. */
export const headGradient = ({ model: { text }, config }: Subject): number =>
  config.train.lora ? 0 : text.vocabularySize * text.hiddenSize * float;

/**
 * Scoring and its gradient, chunk by chunk: two chunks of logits at a time, copies in bfloat16, and the rows that are scored.
 * @param free bytes of the card that chunks are cut by; undefined on the CPU
 */
export function headPass(subject: Subject, free?: number): number {
  const { model, sizes, workload, config } = subject;
  const { vocabularySize: vocabulary, hiddenSize: width } = model.text;
  const scored = workload.microBatch * workload.responses * workload.responseTokens;
  const rows = Math.min(scored, Math.max(1, Math.floor(chunkElements(free) / vocabulary)));
  const chunk = rows * vocabulary * float;
  // The weight unless it is in bfloat16, on the CPU for each of two products; and what is added to its gradient.
  const products = free === undefined ? 2 : 1;
  const copies =
    (sizes.copied + sizes.masters > 0 ? products : 0) + (config.precision === 'bfloat16' && !config.train.lora ? 1 : 0);
  // A card's chunk is large: its logits in bfloat16 count beside those in float32.
  const halves = free !== undefined && config.precision === 'bfloat16' ? chunk / 2 : 0;
  return 2 * chunk + halves + copies * vocabulary * width * half + 3 * scored * width * streamItem(subject);
}
