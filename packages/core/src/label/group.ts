/** Scored responses become a group: everything that is decided about its label, and the advantages of all. */
import { groupAdvantages, type Baseline, type Std } from '../objective/advantage.ts';
import { totalReward, type Scorer } from '../reward/reward.ts';
import type { Group, Label, Prompt, Response, Rollout, Sample, Terms } from '../types.ts';
import type { AlignedLabel } from './align.ts';
import { controlLabel, type LabelSettings } from './control.ts';

export interface GroupSettings {
  readonly label: LabelSettings & {
    /** What A_y is multiplied by. */
    readonly weight: number;
  };
  readonly objective: {
    readonly std: Std;
    readonly baseline: Baseline;
    /** Whether a rollout that was cut off by the limit on its length is left out of the loss. */
    readonly truncated: 'keep' | 'mask';
  };
}

/** A response with its reward terms; undefined where a reward could not judge it, so that it leaves the group. */
export interface Scored<Said extends Response> {
  readonly response: Said;
  readonly terms: Terms | undefined;
}

/** A label with its reward terms; none where nothing is compared with it. */
export interface ScoredLabel extends AlignedLabel {
  readonly terms: Terms | undefined;
}

/** Inject, eliminate and smooth, then advantages over {y, o_1 .. o_G}, or over {o_1 .. o_G} (equations 2, 6, 7). */
export function makeGroup(
  { sample, prompt }: { readonly sample: Sample; readonly prompt: Prompt },
  scorer: Pick<Scorer, 'task' | 'weights'>,
  rollouts: readonly Scored<Rollout>[],
  label: ScoredLabel | undefined,
  { label: settings, objective }: GroupSettings,
): Group {
  const said = rollouts.flatMap(({ response, terms }) =>
    terms ? [{ response, terms, reward: totalReward(terms, scorer.weights) }] : [],
  );
  // A label that cannot be judged is no member; it can be imitated all the same.
  const joins = label && (label.terms !== undefined || label.place === 'target');
  const controlled = joins ? controlledLabel(scorer, label, said, settings) : undefined;
  const advantages = groupAdvantages(
    controlled?.place === 'member' ? controlled : undefined,
    said.map(({ reward }) => reward),
    objective.std,
    objective.baseline,
  );
  return {
    sample,
    prompt,
    rollouts: said.map((rollout, j) => ({
      ...rollout,
      advantage: advantages.rollouts[j]!,
      masked: objective.truncated === 'mask' && rollout.response.stop === 'length',
    })),
    label: controlled && { ...controlled, advantage: controlled.weight * (advantages.label ?? 0) },
    skipped: [...rollouts, ...(label ? [label] : [])].filter(({ terms }) => terms === undefined).length,
  };
}

/** The label before its advantage is known. */
function controlledLabel(
  scorer: Pick<Scorer, 'task' | 'weights'>,
  { place, form, response, terms = {} }: ScoredLabel,
  rollouts: readonly { readonly terms: Terms }[],
  settings: GroupSettings['label'],
): Omit<Label, 'advantage'> {
  if (place === 'target') {
    const reward = Object.keys(terms).length > 0 ? totalReward(terms, scorer.weights) : 0;
    return { place, form, response, terms, rewardBefore: reward, reward, weight: 1, active: true, reachedBy: [] };
  }
  const said = rollouts.map((rollout) => rollout.terms);
  const { joins, ...controlled } = controlLabel(scorer, terms, said, settings);
  return { place: joins ? place : 'aside', form, response, ...controlled, weight: settings.weight };
}
