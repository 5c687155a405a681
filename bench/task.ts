/** A task for measurements: any text gets a reward, and labels are as long as rollouts. */
import type { Task } from '../packages/core/src/tasks/task.ts';
import type { Sample } from '../packages/core/src/types.ts';
import type { Workload } from './workloads.ts';

/** The share of even code points: differs between the rollouts of a group, as the peer's reward does (peer_trl.py). */
export function evenShare(text: string): number {
  const points = Array.from(text, (character) => character.codePointAt(0) ?? 0);
  return points.filter((point) => point % 2 === 0).length / Math.max(1, points.length);
}

export function measuringTask({ maxNewTokens }: Workload): Task<undefined> {
  return {
    name: 'measuring',
    template: '{Question}',
    variables: (problem) => ({ Question: problem }),
    parseTruth: () => undefined,
    // `~` is a token of its own, and the stop token follows: a label of maxNewTokens tokens.
    forms: [{ name: 'only', write: () => '~'.repeat(maxNewTokens - 1) }],
    recognise: () => undefined,
    parse: () => ({ wellFormed: false, boxes: [], points: [] }),
    terms: ({ text }) => ({ thinking: 0, accuracy: evenShare(text) }),
    weights: { thinking: 1, accuracy: 1 },
    thinkingTerm: 'thinking',
    accuracyTerm: 'accuracy',
    wrongButWellFormed: () => '',
    evaluate: () => ({}),
    metrics: () => ({}),
  };
}

export const measuredSamples = ({ samples, promptsPerStep }: Workload): Sample[] =>
  samples.slice(0, promptsPerStep).map(({ image, problem }, i) => ({
    id: String(i),
    images: [image],
    problem,
    solution: '',
    task: 'measuring',
    extra: {},
    source: { file: 'workload.json', line: i + 1 },
  }));
