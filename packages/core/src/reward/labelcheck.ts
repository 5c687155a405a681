/**
 * The label must be able to win: where its reward is not above that of a wrong answer with thinking, a group of such
 * rollouts learns nothing from it, or learns away from it.
 */
import { controlLabel, type LabelSettings } from '../label/control.ts';
import { withThinking } from '../tasks/thinking.ts';
import type { Sample } from '../types.ts';
import { scorerOf, scoreTerms, totalReward, type Scorer, type Subject } from './reward.ts';

export interface LabelThatCannotWin {
  readonly sample: Sample;
  /** r(y), without smoothing. */
  readonly label: number;
  /** Reward of a well-formed wrong answer with thinking. */
  readonly rival: number;
}

/** The samples whose label ties with, or loses against, a well-formed wrong answer with thinking. */
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
    const rivalTerms = score(task.wrongButWellFormed(truth, frames));
    const labelTerms = score(withThinking(sample.thinking, task.forms[0]!.write(truth, frames)));
    const label = controlLabel(scorer, labelTerms, [rivalTerms], { ...settings, smooth: false }).reward;
    const rival = totalReward(rivalTerms, scorer.weights);
    return label > rival ? [] : [{ sample, label, rival }];
  });
}
