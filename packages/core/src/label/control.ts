/** Reward control of the label: eliminate, then smooth. */
import { average } from '../objective/advantage.ts';
import { totalReward, type Scorer } from '../reward/reward.ts';
import type { Task } from '../tasks/task.ts';
import type { Terms } from '../types.ts';

export interface LabelSettings {
  /**
   * The thinking term of r(y): `on` 0, since a label has no reasoning of its own; `off` the full mark, 1; `neutral`
   * the mean of its rollouts' marks.
   */
  readonly eliminate: 'on' | 'off' | 'neutral';
  /** A label that does have reasoning of its own is treated alike (`eliminate`), or keeps the mark that it earns (`keep`). */
  readonly thinking: 'eliminate' | 'keep';
  /** Switch the label off where some rollout is at least as accurate. */
  readonly smooth: boolean;
}

export interface ControlledLabel {
  /** After eliminate. */
  readonly terms: Terms;
  /** r(y); where smoothing acted, the mean reward of the rollouts. */
  readonly reward: number;
  /** False where smoothing acted: A_y is then 0, and the external signal off for this prompt. */
  readonly active: boolean;
}

/** Whether every rollout failed, by the measure of the label: max_j acc(o_j) < acc(y). */
export function allFailed<Truth>(
  { accuracyTerm }: Pick<Task<Truth>, 'accuracyTerm'>,
  label: Terms,
  rollouts: readonly Terms[],
): boolean {
  return rollouts.every((rollout) => rollout[accuracyTerm]! < label[accuracyTerm]!);
}

/**
 * Eliminate replaces the thinking term. Smooth: where some rollout did not fail, r(y) := mean_j r(o_j), so that by
 * equation 7 A_y is 0; otherwise r(y) stands.
 */
export function controlLabel<Truth>(
  { task, weights }: Pick<Scorer<Truth>, 'task' | 'weights'>,
  label: Terms,
  rollouts: readonly Terms[],
  { eliminate, thinking, smooth }: LabelSettings,
): ControlledLabel {
  const { thinkingTerm } = task;
  const earned = label[thinkingTerm]!;
  const mark = {
    on: () => 0,
    off: () => 1,
    neutral: () => average(rollouts.map((terms) => terms[thinkingTerm]!)),
  }[eliminate];
  const terms = { ...label, [thinkingTerm]: thinking === 'keep' && earned > 0 ? earned : mark() };
  const active = !smooth || allFailed(task, label, rollouts);
  const reward = active
    ? totalReward(terms, weights)
    : average(rollouts.map((rollout) => totalReward(rollout, weights)));
  return { terms, reward, active };
}
