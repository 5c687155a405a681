/** Reward control of a label that is to join its group: inject, eliminate, smooth. */
import { average } from '../objective/advantage.ts';
import { totalReward, type Scorer } from '../reward/reward.ts';
import type { Terms } from '../types.ts';

export interface LabelSettings {
  /** Whether the label joins every group, or those in which no rollout is as accurate. */
  readonly inject: 'always' | 'on-failure';
  /**
   * The thinking term of r(y): `on` 0, since a label has no reasoning of its own; `off` the full mark, 1; `neutral`
   * the mean of its rollouts' marks.
   */
  readonly eliminate: 'on' | 'off' | 'neutral';
  /** A label that does have reasoning of its own is treated alike (`eliminate`), or keeps the mark that it earns (`keep`). */
  readonly thinking: 'eliminate' | 'keep';
  /** Switch the label off where some rollout earns as much in all, or (`accuracy`) is as accurate. */
  readonly smooth: 'reward' | 'accuracy' | 'off';
}

export interface ControlledLabel {
  /** False where the group did not fail, and does without its label. */
  readonly joins: boolean;
  /** After eliminate. */
  readonly terms: Terms;
  readonly rewardBefore: number;
  /** r(y) after eliminate; where smoothing acted, the mean reward of the rollouts. */
  readonly reward: number;
  /** False where the label stays aside, or smoothing acted: A_y is then 0, and the external signal off for this prompt. */
  readonly active: boolean;
  /** Places of the rollouts that switched it off, from 0. */
  readonly reachedBy: readonly number[];
}

/**
 * Eliminate replaces the thinking term. Smooth: where some rollout reached the label (max_j r(o_j) >= r(y) after
 * eliminate, or the same of accuracy), r(y) := mean_j r(o_j), so that by equation 7 A_y is 0; otherwise r(y) stands. By reward
 * r(y) then is above the mean of its group, and A_y is never negative.
 */
export function controlLabel<Truth>(
  { task, weights }: Pick<Scorer<Truth>, 'task' | 'weights'>,
  label: Terms,
  rollouts: readonly Terms[],
  settings: LabelSettings,
): ControlledLabel {
  const terms = eliminate(task.thinkingTerm, label, rollouts, settings);
  const rewards = rollouts.map((rollout) => totalReward(rollout, weights));
  const own = totalReward(terms, weights);
  const reached = {
    reward: placesFrom(rewards, own),
    accuracy: placesFrom(rollouts.map(termOf(task.accuracyTerm)), termOf(task.accuracyTerm)(label)),
    off: [],
  };
  const joins = settings.inject === 'always' || reached.accuracy.length === 0;
  const reachedBy = joins ? reached[settings.smooth] : reached.accuracy;
  const active = reachedBy.length === 0;
  const reward = joins && !active ? average(rewards) : own;
  return { joins, terms, rewardBefore: totalReward(label, weights), reward, active, reachedBy };
}

function eliminate(
  thinkingTerm: string,
  label: Terms,
  rollouts: readonly Terms[],
  settings: Pick<LabelSettings, 'eliminate' | 'thinking'>,
): Terms {
  const earned = termOf(thinkingTerm)(label);
  // Of no rollouts, where a reward skipped all, there is no mean; nothing is compared with the label then.
  const neutral = (): number => (rollouts.length > 0 ? average(rollouts.map(termOf(thinkingTerm))) : 0);
  const marks = { on: () => 0, off: () => 1, neutral };
  const isKept = settings.thinking === 'keep' && earned > 0;
  return { ...label, [thinkingTerm]: isKept ? earned : marks[settings.eliminate]() };
}

const termOf =
  (name: string) =>
  (terms: Terms): number =>
    terms[name]!;

/** Rewards that differ by less are equal: sums of terms are rounded. */
const ROUNDING = 1e-9;

/** Places of the values that are not below a limit. */
const placesFrom = (values: readonly number[], limit: number): number[] =>
  values.flatMap((value, place) => (value > limit - ROUNDING ? [place] : []));
