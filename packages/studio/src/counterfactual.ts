/** What a group's advantages would have been under other switches: the functions of training, on what it recorded. */
import {
  controlLabel,
  groupAdvantages,
  UserError,
  type GroupRecord,
  type LabelSettings,
  type Std,
} from '@visurf/core/records';

export interface Switches extends Pick<LabelSettings, 'eliminate' | 'smooth' | 'inject' | 'thinking'> {
  /** Whether the label joins the group: ViSurf; else it is RLVR. */
  readonly label: boolean;
  readonly std: Std;
  /** What A_y is multiplied by. */
  readonly weight: number;
}

export interface Outcome {
  /** Of the label; undefined where it does not join. */
  readonly label: { readonly reward: number; readonly active: boolean; readonly advantage: number } | undefined;
  readonly rollouts: readonly number[];
  /** |A| times tokens: the label's share in the pull of all members before anything is clipped, 0 to 1. */
  readonly labelShare: number;
}

/** Of the task that every group is judged by. */
const THINKING = 'thinking';
const ACCURACY = 'accuracy';

/**
 * @param weights of the reward's terms
 * @returns undefined where the group was judged by terms that these switches do not know
 * @throws UserError where what was recorded makes no number
 */
export function counterfactual(
  group: GroupRecord,
  weights: Readonly<Record<string, number>>,
  switches: Switches,
): Outcome | undefined {
  const { label, rollouts } = group;
  const rewards = rollouts.map(({ reward }) => reward);
  if (!label || !switches.label)
    return outcome(group, undefined, groupAdvantages(undefined, rewards, switches.std).rollouts);
  const used = Object.fromEntries(Object.keys(label.terms).map((name) => [name, weights[name] ?? 0]));
  if (!(THINKING in used) || !(ACCURACY in used)) return undefined;
  const before = { ...label.terms, [THINKING]: thinkingBefore(label, used) };
  const task = { thinkingTerm: THINKING, accuracyTerm: ACCURACY };
  const { joins, reward, active } = controlLabel(
    { task, weights: used } as Parameters<typeof controlLabel>[0],
    before,
    rollouts.map(({ terms }) => terms),
    switches,
  );
  if (!Number.isFinite(reward))
    throw new UserError('the reward of this label is no number: what was recorded is damaged');
  const { label: own = 0, rollouts: advantages } = groupAdvantages(
    joins ? { reward, active } : undefined,
    rewards,
    switches.std,
  );
  return outcome(group, { reward, active: joins && active, advantage: switches.weight * own }, advantages);
}

/** The mark for thinking that the label earned itself: the reward before it was eliminated has it. */
function thinkingBefore(
  { terms, rewardBefore }: NonNullable<GroupRecord['label']>,
  weights: Readonly<Record<string, number>>,
): number {
  const weight = weights[THINKING] ?? 0;
  if (weight === 0) return terms[THINKING] ?? 0;
  const others = Object.entries(terms).reduce(
    (sum, [name, term]) => (name === THINKING ? sum : sum + (weights[name] ?? 0) * term),
    0,
  );
  return (rewardBefore - others) / weight;
}

function outcome({ label, rollouts }: GroupRecord, own: Outcome['label'], advantages: readonly number[]): Outcome {
  const pull = Math.abs(own?.advantage ?? 0) * (label?.length ?? 0);
  const others = rollouts.reduce((sum, { length }, i) => sum + Math.abs(advantages[i] ?? 0) * length, 0);
  return { label: own, rollouts: advantages, labelShare: pull + others > 0 ? pull / (pull + others) : 0 };
}
