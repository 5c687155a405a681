/** A task for measurements: any text gets a reward, and labels are as long as rollouts. */
import type { Task } from '../packages/core/src/tasks/task.ts';
import type { Sample } from '../packages/core/src/types.ts';
import type { Workload } from './workloads.ts';

/**
 * The mean code point, scaled: as the peer's reward (peer_trl.py) it differs between the rollouts of a group, and no
 * rollout has exactly the mean of its group, whose training would be skipped.
 */
function meanPoint(text: string): number {
  const points = Array.from(text, (character) => character.codePointAt(0) ?? 0);
  return points.reduce((sum, point) => sum + point, 0) / Math.max(1, points.length) / 1000;
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
    terms: ({ text }) => ({ thinking: 0, accuracy: meanPoint(text) }),
    weights: { thinking: 1, accuracy: 1 },
    thinkingTerm: 'thinking',
    accuracyTerm: 'accuracy',
    wrongButWellFormed: () => '',
    nearlyRight: () => undefined,
    evaluate: () => ({}),
    metrics: () => ({}),
  };
}

export const measuredSamples = ({ samples }: Workload): Sample[] =>
  samples.map(({ image, problem }, i) => ({
    id: String(i),
    images: [image],
    problem,
    solution: '',
    task: 'measuring',
    extra: {},
    source: { file: 'workload.json', line: i + 1 },
  }));
