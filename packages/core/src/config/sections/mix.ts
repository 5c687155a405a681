/** Keys of paradigms that share steps, or losses, between SFT and RL. */
import { z } from 'zod';
import type { Paradigm } from '../../schedule/paradigm.ts';
import { key, section } from '../facts.ts';
import { count, whole, fraction, only, gradual } from './kinds.ts';

const range = (meaning: string, before: Range, published: Partial<Record<Paradigm, Range>> = {}) => {
  const of = (end: keyof Range) =>
    Object.fromEntries(Object.entries(published).map(([paradigm, values]) => [paradigm, values[end]]));
  return {
    start: key(`${meaning}, before its change`, fraction.default(before.start), { defaults: of('start') }),
    end: key(`${meaning}, after it`, fraction.default(before.end), { defaults: of('end') }),
  };
};

interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * How SFT and RL share the steps. CHORD: mu falls from 0.9 to 0.05, and tokens of labels weigh p (1 - p) (arXiv
 * 2508.11408, equation 5 and appendix A.1).
 */
export const mix = section({
  round: section(
    {
      sft: key('steps of SFT, before those of RL, over and over', count.default(1)),
      rl: key('steps of RL', count.default(1)),
    },
    { users: only('interleaved') },
  ).prefault({}),
  curve: key(
    '`linear` or `cosine`: along which the weight and the label rate change',
    z.enum(['linear', 'cosine']).default('linear'),
    {
      users: gradual,
      defaults: { chord: 'cosine' },
    },
  ),
  weight: section(
    range('weight of SFT, mu (RL weighs 1 - mu)', { start: 1, end: 0 }, { chord: { start: 0.9, end: 0.05 } }),
    {
      users: gradual,
    },
  ).prefault({}),
  labelRate: section(range('share of the prompts that carry a label', { start: 1, end: 0 }), {
    users: only('progressive'),
  }).prefault({}),
  warmupSteps: key('steps over which the weight rises from 0 to its start', whole.default(0), {
    users: gradual,
    scales: true,
  }),
  decaySteps: key('steps that the change takes after the warm-up', count.optional(), {
    users: gradual,
    unset: 'all that are left',
    scales: true,
  }),
  share: key('share of the prompts of a batch that are for SFT', fraction.default(0.5), { users: only('data-mixing') }),
}).prefault({});
