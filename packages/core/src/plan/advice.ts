/** What to change when a plan does not fit, most effective first. */
import { onCard } from './activations.ts';
import { shareOf } from './cards.ts';
import { planMemory, type MemoryPlan } from './memory.ts';
import type { Part } from './parts.ts';
import { inFourBits, sizesOf } from './sizes.ts';
import type { Subject } from './workload.ts';

export interface Advice {
  /** The change as it is written in a configuration, or an option of plan. */
  readonly change: string;
  /** Peak memory with it, in bytes. */
  readonly peak: number;
}

type Train = Subject['config']['train'];

/** In place of training all weights. */
export const NEW_ADAPTER = 'train.lora.rank=16';

/**
 * Changes of the configuration that lower the peak, each alone.
 * @param shares cards or processes that share the step
 * @param more how to say that it is twice as many of them, where that may be advised
 */
export function advise(subject: Subject, program: number, shares = 1, more?: string): Advice[] {
  const { config, workload, sizes } = subject;
  const { train, optimizer } = config;
  const withTrain = (changed: Partial<Train>): Subject => ({
    ...subject,
    config: { ...config, train: { ...train, ...changed } },
  });
  const candidates: [string, Subject][] = [];
  if (!train.checkpointActivations) {
    candidates.push(['train.checkpointActivations=true', withTrain({ checkpointActivations: true })]);
  }
  if (onCard(subject) && !train.offloadActivations) {
    const changed = { checkpointActivations: true, offloadActivations: true };
    const said = Object.keys(changed).filter((key) => !train[key as keyof typeof changed]);
    candidates.push([said.map((key) => `train.${key}=true`).join(' '), withTrain(changed)]);
  }
  if (workload.microBatch > 1) {
    const changed = withTrain({ microBatch: { prompts: 1 } });
    candidates.push(['train.microBatch.prompts=1', { ...changed, workload: { ...workload, microBatch: 1 } }]);
  }
  if (!train.freezeVision && !train.lora) {
    const changed = withTrain({ freezeVision: true });
    const fewer = sizesOf(subject.model, () => sizes.file, changed.config);
    candidates.push(['train.freezeVision=true', { ...changed, frozenVision: true, sizes: fewer }]);
  }
  if (!train.lora) {
    const lora = { rank: 16, alpha: 32, dropout: 0, rsLora: false, vision: false } as NonNullable<Train['lora']>;
    const changed = withTrain({ lora });
    const adapted = sizesOf(subject.model, () => sizes.file, changed.config);
    candidates.push([NEW_ADAPTER, { ...changed, sizes: adapted, frozenVision: true }]);
  } else if (!train.lora.quantize && config.precision !== 'float64') {
    const lora = { ...train.lora, quantize: 'nf4' as const };
    candidates.push(['train.lora.quantize=nf4', { ...withTrain({ lora }), sizes: inFourBits(sizes) }]);
  }
  if (config.precision === 'float32' && onCard(subject)) {
    // Weights that are trained stay in float32, with a copy for products.
    const copied = sizes.weights < 4 * sizes.all ? 0 : sizes.projections;
    const half = { ...subject, config: { ...config, precision: 'bfloat16' as const }, sizes: { ...sizes, copied } };
    candidates.push(['precision=bfloat16', half]);
  }
  if (config.precision === 'bfloat16' && config.stream === 'float32' && onCard(subject)) {
    candidates.push(['stream=bfloat16', { ...subject, config: { ...config, stream: 'bfloat16' } }]);
  }
  if (optimizer.name === 'adamw' && !train.lora) {
    const withOptimizer = (changed: Partial<typeof optimizer>): Subject => ({
      ...subject,
      config: { ...config, optimizer: { ...optimizer, ...changed } },
    });
    if (config.precision !== 'float64' && optimizer.states === 'full')
      candidates.push(['optimizer.states=8bit', withOptimizer({ states: '8bit' })]);
    const stateless = optimizer.states === 'full' ? '' : ' optimizer.states=full';
    candidates.push([`optimizer.name=sgd${stateless}`, withOptimizer({ name: 'sgd', states: 'full' })]);
  }
  if (workload.prompts > 1 && workload.group > 0) {
    const prompts = Math.ceil(workload.prompts / 2);
    const microBatch = Math.min(workload.microBatch, prompts);
    candidates.push([`promptsPerStep=${prompts}`, { ...subject, workload: { ...workload, prompts, microBatch } }]);
  }
  const peakOf = (changed: Subject, among = shares): number => planMemory(shareOf(changed, among), program).peak;
  const before = peakOf(subject);
  return candidates
    .map(([change, changed]): Advice => ({ change, peak: peakOf(changed) }))
    .concat(more === undefined ? [] : [{ change: more, peak: peakOf(subject, 2 * shares) }])
    .filter(({ peak }) => peak < 0.98 * before)
    .sort((a, b) => a.peak - b.peak);
}

/** The part that takes most, beside the program itself. */
export function dominant({ parts }: MemoryPlan): Part {
  return parts.find(({ part }) => part !== 'program')?.part ?? 'program';
}
