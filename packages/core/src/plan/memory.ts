/**
 * Peak memory of a run, in bytes, as the sum of what lives together in its most demanding phase.
 */
import { evaluatedTogether, featureBytes, imageBytes } from '../budgets.ts';
import {
  context,
  decoderLayers,
  float,
  half,
  itemOf,
  headGradient,
  headPass,
  onCard,
  pixelBytes,
  streamItem,
  visionBlock,
} from './activations.ts';
import { generation } from './generation.ts';
import type { Part, Parts } from './parts.ts';
import { packedTokens, type Sizes, type Subject } from './workload.ts';

/** What the allocator holds beside what is in use; on a card, workspaces of its libraries. */
const allocator = 64 << 20;

export type Phase = 'loading' | 'generation' | 'update' | 'evaluation';

export interface MemoryPlan {
  readonly peak: number;
  /** The phase that needs most. */
  readonly phase: Phase;
  /** What is in memory then, largest first. */
  readonly parts: readonly { readonly part: Part; readonly bytes: number }[];
  /** Bytes of every phase that the run has. */
  readonly phases: Readonly<Partial<Record<Phase, number>>>;
}

/**
 * Of the host, or of the card where the device is one.
 * @param program bytes of a process that has loaded the library and nothing else
 */
export function planMemory(subject: Subject, program: number): MemoryPlan {
  const card = onCard(subject);
  const resident = residentParts(subject);
  const { weights = 0, 'reference model': reference = 0 } = resident;
  const { prompts, group, responseTokens, evaluated, evaluationTokens } = subject.workload;
  const phases: Partial<Record<Phase, Parts>> = {
    // The pages of the file count while they are copied, tensor by tensor.
    // Masters are cut off weights that are whole.
    loading: {
      ...(reference > 0 ? resident : { weights: weights + half * subject.sizes.masters }),
      'checkpoint file': card ? 0 : subject.sizes.file,
    },
    update: { ...resident, ...update(subject, resident) },
  };
  // Servers have their own memory.
  if (group > 0 && subject.config.rollout.backend === 'local') {
    const answers = { prompts, group, tokens: responseTokens, greedy: false };
    phases.generation = { ...resident, ...generation(subject, answers, total(resident)) };
  }
  if (evaluated > 0) {
    const answers = {
      prompts: Math.min(evaluated, evaluatedTogether),
      group: 1,
      tokens: evaluationTokens,
      greedy: true,
    };
    phases.evaluation = { ...resident, ...generation(subject, answers, total(resident)) };
  }
  if (subject.config.precision === 'float64')
    for (const phase of Object.keys(phases) as Phase[]) phases[phase] = inFloat64(phases[phase]!);
  const own = (card ? context : program) + allocator;
  const totals = Object.entries(phases).map(([phase, parts]) => {
    return [phase as Phase, own + total(parts)] as const;
  });
  const [phase, peak] = totals.reduce((a, b) => (b[1] > a[1] ? b : a));
  const parts = Object.entries({ program: own, ...phases[phase] })
    .map(([part, bytes]) => ({ part: part as Part, bytes }))
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => b.bytes - a.bytes);
  return { peak, phase, parts, phases: Object.fromEntries(totals) };
}

const total = (parts: Parts): number => Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);

/** What is counted in float32 takes twice as much, but for what is no tensor of the model. */
const inFloat64 = (parts: Parts): Parts =>
  Object.fromEntries(
    Object.entries(parts).map(([part, bytes]) => [
      part,
      /^(pixels|remembered images|remembered image tokens|checkpoint file)$/.test(part) ? bytes : 2 * bytes,
    ]),
  );

/** Bytes of the optimiser's states. */
function moments({ trainable, small }: Sizes, { name, states }: Subject['config']['optimizer']): number {
  if (name !== 'adamw') return 0;
  // A byte, and a share of the magnitude of 256.
  return 2 * (states === '8bit' ? float * small + (1 + float / 256) * (trainable - small) : float * trainable);
}

/** What is there from the first step to the last. */
export function residentParts({ model, sizes, workload, config, frozenVision, shards = 1 }: Subject): Parts {
  const card = onCard({ config });
  const { prompts, patches, images } = workload;
  const copies = half * sizes.copied;
  const isHalf = sizes.file < 3 * sizes.all;
  const halved = config.precision === 'bfloat16' ? (isHalf ? sizes.matrices : sizes.projections) : 0;
  const reference = config.objective.kl.coefficient > 0 && !config.train.lora;
  const merged = model.vision.spatialMergeSize ** 2;
  // What deeper blocks give the decoder is remembered, too.
  const kinds = 1 + (model.vision.deepstack?.length ?? 0);
  // The product that makes them gives them its dtype.
  const item = config.precision === 'float64' ? 2 * float : itemOf({ config });
  const features = (kinds * images * patches * model.text.hiddenSize * item) / merged;
  return {
    weights: sizes.weights,
    'master weights': (float * sizes.masters) / shards,
    'reference model': reference ? float * sizes.all - (float - half) * halved : 0,
    optimiser: moments(sizes, config.optimizer) / shards,
    'bfloat16 copies of weights': copies,
    pixels: card ? 0 : prompts * pixelBytes(model, patches),
    'remembered images': card
      ? 0
      : Math.min(imageBytes, images * patches * model.vision.patchSize ** 2 * model.vision.inChannels),
    'remembered image tokens': frozenVision ? Math.min(featureBytes, features) : 0,
  };
}

/** Forward and backward of one micro-batch, beside the gradients of those before it. */
function update(subject: Subject, resident: Parts): Parts {
  const { model, sizes, workload, config, frozenVision, shards = 1 } = subject;
  const { text, vision } = model;
  const { prompts, microBatch } = workload;
  const patches = frozenVision ? 0 : microBatch * workload.patches;
  const layers = decoderLayers(subject);
  const again = config.train.checkpointActivations;
  // What is computed again leaves the stream before every block, and all of one block at a time.
  // Streams that wait on the host are on a card but for those of the block that works.
  const offloaded = config.train.offloadActivations && onCard(subject);
  const here = (blocks: number): number => (offloaded ? Math.min(2, blocks) : blocks);
  const streams = here(text.layers) * packedTokens(workload) * text.hiddenSize * streamItem(subject);
  const decoder = again ? streams + layers.one : layers.kept;
  const tower = again
    ? here(vision.depth) * patches * vision.hiddenSize * streamItem(subject)
    : vision.depth * visionBlock(subject, patches);

  // Trained weights are cast anew with a graph, which keeps the copy until it is gone.
  const casts = config.precision === 'bfloat16' && sizes.masters === 0 ? half * sizes.trainedProjections : 0;
  const cast = again ? casts / (text.layers + vision.depth) : casts;
  // A card forgets the copies of rollouts, and a frozen tower is asked for nothing that is not remembered.
  const idle = onCard(subject) && frozenVision ? sizes.vision : 0;
  const frozen = (config.train.lora ? sizes.copied : sizes.copied - sizes.trainedProjections) - idle;
  // Of shared gradients two blocks are whole at a time, or the table.
  const block = (sizes.all - sizes.vision - sizes.tables) / text.layers;
  const whole = float * Math.max(2 * block, text.vocabularySize * text.hiddenSize);
  const all = float * sizes.trainable;
  const gradients = shards > 1 ? Math.min(all, all / shards + whole) : all;
  // Of a single micro-batch, gradients arrive while activations go.
  const alone = prompts <= microBatch;
  const first = Math.max(0, gradients - decoder - tower) + headGradient(subject);
  const before: Parts = {
    gradients: alone ? Math.min(first, gradients) : gradients,
    'bfloat16 copies of weights': half * Math.max(0, frozen) + cast,
    'activations of the decoder': decoder,
    'activations of the vision tower': tower + (patches > 0 ? 2 * pixelBytes(model, patches) : 0),
  };
  if (!onCard(subject)) return { ...before, logits: headPass(subject), 'working memory': layers.working };
  // One after the other: logits are gone when the turn of layers comes, of which one at a time is computed again.
  const kept = { ...before, 'activations of the decoder': again ? streams : decoder };
  const working = layers.working + (again ? layers.one : 0);
  const held = total({ ...resident, ...kept });
  const logits = headPass(subject, Math.max(0, (subject.card ?? 0) - context - held));
  return { ...kept, logits, 'working memory': Math.max(0, working - logits) };
}
