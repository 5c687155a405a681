/**
 * Peak memory of a run, in bytes, as the sum of what lives together in its most demanding phase.
 *
 * What a layer keeps for its gradient is counted tensor by tensor, as model/decoder.ts, model/attention.ts and
 * model/vision.ts make them. Legend: N tokens of the packed rows, L of a prompt, K responses of T tokens, D width of the
 * stream, A = heads * head size, C = key heads * head size, I width of the feed-forward layer.
 */
import { packedTokens, type Subject } from './workload.ts';

const float = 4;
const half = 2;
/** Elements of one chunk of logits, as model/head.ts cuts them. */
const chunkElements = 1 << 24;
/** What the allocator holds beside what is in use. */
const allocator = 64 << 20;
/** Budget of remembered image tokens, as train.ts sets it. */
export const featureBytes = 1 << 30;

export type Part =
  | 'program'
  | 'weights'
  | 'reference model'
  | 'optimiser'
  | 'gradients'
  | 'bfloat16 copies of weights'
  | 'pixels'
  | 'remembered image tokens'
  | 'keys and values'
  | 'activations of the vision tower'
  | 'activations of the decoder'
  | 'logits'
  | 'working memory'
  | 'checkpoint file';

export type Phase = 'loading' | 'generation' | 'update';

export interface MemoryPlan {
  readonly peak: number;
  /** The phase that needs most. */
  readonly phase: Phase;
  /** What is in memory then, largest first. */
  readonly parts: readonly { readonly part: Part; readonly bytes: number }[];
  readonly phases: Readonly<Record<Phase, number>>;
}

type Parts = Partial<Record<Part, number>>;

/** @param program bytes of a process that has loaded the library and nothing else */
export function planMemory(subject: Subject, program: number): MemoryPlan {
  const resident = residentParts(subject);
  const { weights = 0, 'reference model': reference = 0 } = resident;
  const phases: Record<Phase, Parts> = {
    // The pages of the file count while they are copied, tensor by tensor.
    loading: { ...(reference > 0 ? resident : { weights }), 'checkpoint file': subject.sizes.file },
    generation: subject.workload.group > 0 ? { ...resident, ...generation(subject) } : {},
    update: { ...resident, ...update(subject) },
  };
  const total = (parts: Parts): number => Object.values(parts).reduce((sum, bytes) => sum + bytes, program + allocator);
  const totals = Object.fromEntries(Object.entries(phases).map(([phase, parts]) => [phase, total(parts)]));
  const [phase, peak] = Object.entries(totals).reduce((a, b) => (b[1] > a[1] ? b : a));
  const parts = Object.entries({ program: program + allocator, ...phases[phase as Phase] })
    .map(([part, bytes]) => ({ part: part as Part, bytes }))
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => b.bytes - a.bytes);
  return { peak, phase: phase as Phase, parts, phases: totals as Record<Phase, number> };
}

/** What is there from the first step to the last. */
function residentParts({ model, sizes, workload, config, frozenVision }: Subject): Parts {
  const reference = config.objective.kl.coefficient > 0 && !config.train.lora;
  const casts = config.precision === 'bfloat16' ? half * sizes.projections : 0;
  const merged = model.vision.spatialMergeSize ** 2;
  const features = (workload.images * workload.patches * model.text.hiddenSize * float) / merged;
  return {
    weights: float * sizes.all,
    'reference model': reference ? float * sizes.all + casts : 0,
    optimiser: config.optimizer.name === 'adamw' ? 2 * float * sizes.trainable : 0,
    'bfloat16 copies of weights': casts,
    pixels: workload.prompts * pixelBytes(model, workload.patches),
    'remembered image tokens': frozenVision ? Math.min(featureBytes, features) : 0,
  };
}

function pixelBytes({ vision }: Subject['model'], patches: number): number {
  return patches * vision.inChannels * vision.temporalPatchSize * vision.patchSize ** 2 * float;
}

/** Every prompt of a step at once: prefill, then one token after the other for B * G rows. */
function generation({ model, workload, config }: Subject): Parts {
  const { text, vision } = model;
  const { prompts, promptTokens, patches, group, responseTokens } = workload;
  const rows = prompts * group;
  const keys = text.keyValueHeads * text.headSize;
  const queries = text.heads * text.headSize;
  const item = config.precision === 'bfloat16' ? half : float;
  const caches = text.layers * 2 * keys * float * (prompts * promptTokens + rows * responseTokens);
  const tower = prompts * patches * (6 * vision.hiddenSize * float + 3 * vision.intermediateSize * item);
  const repeated = text.heads === text.keyValueHeads ? 0 : 2 * queries;
  const attention = 3 * queries + 2 * keys + repeated;
  const prefill =
    prompts * promptTokens * ((2 * text.hiddenSize + attention) * float + 3 * text.intermediateSize * item);
  const scores = 3 * rows * text.heads * (promptTokens + responseTokens);
  const decode = (scores + rows * responseTokens * 2 * keys) * float;
  // Logits, their log-probabilities and probabilities in float32, probabilities and their sums in float64.
  const logits = rows * text.vocabularySize * (4 * float + 2 * 8);
  const largest = Math.max(prefill, decode + logits, tower);
  return {
    'keys and values': caches,
    'activations of the vision tower': tower === largest ? tower + 2 * prompts * pixelBytes(model, patches) : 0,
    'activations of the decoder': largest === prefill ? prefill : largest === decode + logits ? decode : 0,
    logits: largest === decode + logits ? logits : 0,
  };
}

/** Forward and backward of one micro-batch, beside the gradients of those before it. */
function update(subject: Subject): Parts {
  const { model, sizes, workload, config, frozenVision } = subject;
  const { text, vision } = model;
  const { checkpointActivations } = config.train;
  const tokens = packedTokens(workload);
  const layer = layerBytes(subject);
  const patches = frozenVision ? 0 : workload.microBatch * workload.patches;
  const block = patches * blockBytes(subject);
  const graphCasts = config.precision === 'bfloat16' ? half * sizes.trainedProjections : 0;

  const stream = tokens * text.hiddenSize * float;
  const decoder = checkpointActivations ? text.layers * stream + layer.kept : text.layers * layer.kept;
  const towerStream = patches * vision.hiddenSize * float;
  const tower = checkpointActivations ? vision.depth * towerStream : vision.depth * block;
  const casts = checkpointActivations ? graphCasts / (text.layers + vision.depth) : graphCasts;

  const scored = workload.microBatch * workload.responses * workload.responseTokens;
  const rows = Math.min(scored, Math.max(1, Math.floor(chunkElements / text.vocabularySize)));
  const headGradient = sizes.trainable === sizes.all ? text.vocabularySize * text.hiddenSize * float : 0;
  const chunks = Math.ceil(scored / rows);
  const logits =
    rows * text.vocabularySize * float * 3 + (chunks > 1 ? headGradient : 0) + 3 * scored * text.hiddenSize * float;

  const gradients = float * sizes.trainable;
  const kept = decoder + tower;
  // Of a single micro-batch, gradients arrive while activations go.
  const alone = workload.prompts <= workload.microBatch;
  const share = alone ? Math.max(0, gradients - kept) : gradients;
  const working = Math.max(layer.working, logits);
  return {
    gradients: alone ? share + Math.min(headGradient, gradients) : share,
    'bfloat16 copies of weights': (config.precision === 'bfloat16' ? half * sizes.projections : 0) + casts,
    'activations of the decoder': decoder,
    'activations of the vision tower': tower + (patches > 0 ? 2 * pixelBytes(model, patches) : 0),
    logits: working === logits ? logits : 0,
    'working memory': working === logits ? 0 : layer.working,
  };
}

/** Of one decoder layer: what it keeps for its gradient, and what it needs while it works. */
function layerBytes({ model: { text }, workload, config }: Subject): { kept: number; working: number } {
  const { microBatch, promptTokens, responses, responseTokens } = workload;
  const tokens = packedTokens(workload);
  const prefix = microBatch * promptTokens;
  const own = microBatch * responses * responseTokens;
  const [width, inner] = [text.hiddenSize, text.intermediateSize];
  const queries = text.heads * text.headSize;
  const keys = text.keyValueHeads * text.headSize;
  const item = config.precision === 'bfloat16' ? half : float;
  const scores = own * text.heads * (promptTokens + responseTokens) * float;
  const onTokens = tokens * (float * (2 * width + queries) + item * (2 * width + queries + 3 * inner));
  const onPrefix = prefix * float * (queries + 2 * keys + (text.heads === text.keyValueHeads ? 2 * keys : 2 * queries));
  const onOwn = own * float * (queries + 2 * keys);
  const feedForward = tokens * (3 * inner * item + 2 * width * float);
  const attention = 3 * scores + tokens * 3 * queries * float;
  return { kept: onTokens + onPrefix + onOwn + scores, working: Math.max(feedForward, attention) };
}

/** What a block of the vision tower keeps of a patch. */
function blockBytes({ model: { vision }, config }: Subject): number {
  const item = config.precision === 'bfloat16' ? half : float;
  const { hiddenSize: width, intermediateSize: inner } = vision;
  return float * 6 * width + item * (4 * width + 3 * inner);
}
