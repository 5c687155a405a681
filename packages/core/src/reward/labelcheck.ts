/**
 * The label must be able to win: where its reward is not above that of a wrong answer with thinking, a group of such
 * rollouts learns nothing from it, or learns away from it. Where it is not above that of a nearly right one, such rollouts
 * switch it off (`label.smooth: reward`), or push it down.
 */
import { controlLabel, type LabelSettings } from '../label/control.ts';
import { withThinking } from '../tasks/thinking.ts';
import type { Sample } from '../types.ts';
import { scorerOf, scoreTerms, totalReward, type Scorer, type Subject } from './reward.ts';

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
export function labelsThatCannotWin(
  scorers: Scorer,
  subjects: readonly Subject[],
  settings: Pick<LabelSettings, 'eliminate' | 'thinking'>,
): LabelThatCannotWin[] {
  return subjects.flatMap((subject) => {
    const { sample, truth, frames } = subject;
    const scorer = scorerOf(scorers, sample);
    const { task } = scorer;
    const score = (text: string) => scoreTerms(scorer, { text, stop: 'eos' }, subject);
    const labelTerms = score(withThinking(sample.thinking, task.forms[0]!.write(truth, frames)));
    const lost = (rivalIs: Rival, text: string | undefined): LabelThatCannotWin[] => {
      if (text === undefined) return [];
      const rivalTerms = score(text);
      const control = { ...settings, smooth: 'off', inject: 'always' } as const;
      const label = controlLabel(scorer, labelTerms, [rivalTerms], control).reward;
      const rival = totalReward(rivalTerms, scorer.weights);
      return label > rival ? [] : [{ sample, label, rival, rivalIs }];
    };
    const wrong = lost('wrong', task.wrongButWellFormed(truth, frames));
    return wrong.length > 0 ? wrong : lost('nearly right', task.nearlyRight(truth, frames));
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
