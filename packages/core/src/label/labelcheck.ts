/**
 * The label must be able to win: where its reward is not above that of a wrong answer with thinking, a group of such
 * rollouts learns nothing from it, or learns away from it. Where it is not above that of a nearly right one, such rollouts
 * switch it off (`label.smooth: reward`), or push it down.
 */
import { controlLabel, type LabelSettings } from './control.ts';
import { withThinking } from '../tasks/thinking.ts';
import type { Sample, Terms } from '../types.ts';
import { makeScorer, scorerOf, scoreGroups, totalReward, type Scorer, type Subject } from '../reward/reward.ts';

/** Both are well formed, with a thought. */
export type Rival = 'wrong' | 'nearly right';

export interface LabelThatCannotWin {
  readonly sample: Sample;
  /** r(y), without smoothing. */
  readonly label: number;
  /** Reward of the answer that the label ties with, or loses against. */
  readonly rival: number;
  readonly rivalIs: Rival;
}

/** The samples whose label ties with, or loses against, a wrong answer or else a nearly right one. */
export async function labelsThatCannotWin(
  scorers: Scorer,
  subjects: readonly Subject[],
  settings: Pick<LabelSettings, 'eliminate' | 'thinking'>,
): Promise<LabelThatCannotWin[]> {
  const matches = subjects.map((subject) => {
    const { sample, truth, frames } = subject;
    const known = scorerOf(scorers, sample);
    const { task } = known;
    const scorer = makeScorer(
      task,
      known.rewards.filter(({ isSlow }) => isSlow !== true),
      known.thinking,
    );
    const label = withThinking(sample.thinking, task.forms[0]!.write(truth, frames));
    return { scorer, subject, texts: [label, task.wrongButWellFormed(truth, frames), task.nearlyRight(truth, frames)] };
  });
  const groups = matches.flatMap(({ scorer, subject, texts }) =>
    texts.map((text, i) => {
      const answers = text === undefined ? [] : [{ text, stop: 'eos', isLabel: i === 0 } as const];
      return { scorer, subject, answers };
    }),
  );
  const scored = await scoreGroups(groups);
  return matches.flatMap(({ scorer, subject: { sample } }, i) => {
    const [label, wrong, nearly] = scored.slice(3 * i, 3 * i + 3).map(([terms]) => terms);
    const beaten = (rivalIs: Rival, rivalTerms: Terms | undefined): LabelThatCannotWin[] => {
      if (!label || !rivalTerms) return [];
      const control = { ...settings, smooth: 'off', inject: 'always' } as const;
      const { reward } = controlLabel(scorer, label, [rivalTerms], control);
      const rival = totalReward(rivalTerms, scorer.weights);
      return reward > rival ? [] : [{ sample, label: reward, rival, rivalIs }];
    };
    const lost = beaten('wrong', wrong);
    return lost.length > 0 ? lost : beaten('nearly right', nearly);
  });
}

const REMEDIES = {
  wrong: 'lower task.weights.thinking',
  switchedOff: 'such rollouts switch it off; lower task.weights.thinking to learn from it further',
  pushedDown: 'such rollouts push it down; use label.smooth: reward, or lower task.weights.thinking',
} as const;

/** What training says of them before it starts; one text for each kind of rival that there is. */
export function labelWarnings(
  losing: readonly LabelThatCannotWin[],
  n: number,
  { smooth }: Pick<LabelSettings, 'smooth'>,
): string[] {
  return (['wrong', 'nearly right'] as const).flatMap((rival) => {
    const ids = losing.filter(({ rivalIs }) => rivalIs === rival).map(({ sample }) => sample.id);
    if (ids.length === 0) return [];
    const named = `${ids.slice(0, 5).join(', ')}${ids.length > 5 ? ', ...' : ''}`;
    const remedy = REMEDIES[rival === 'wrong' ? 'wrong' : smooth === 'reward' ? 'switchedOff' : 'pushedDown'];
    return `the label of ${ids.length} of ${n} samples cannot win against a ${rival} answer with thinking (${named}): ${remedy}`;
  });
}
