/** Which keys of a configuration a paradigm uses, and its own defaults for some of them. */
import { PARADIGMS, paradigmsWith, type Paradigm } from './paradigm.ts';

const samples = paradigmsWith((each) => each.samples);
const members = paradigmsWith(({ label }) => label === 'member');
const imitates = paradigmsWith(({ label }) => label === 'target');
const gradual = ['progressive', 'chord'] as const;

/** A key stands for all below it that are not listed themselves; a key that no line covers is everybody's. */
const users: Readonly<Record<string, readonly Paradigm[]>> = {
  sftSteps: ['sft-then-rlvr'],
  rollout: samples,
  // Evaluation has it for its default.
  'rollout.maxNewTokens': PARADIGMS,
  'rollout.dynamicSampling': ['rlvr', 'sft-then-rlvr', 'interleaved', ...members],
  label: members,
  'label.align': [...members, ...imitates],
  objective: samples,
  'objective.updatesPerBatch': PARADIGMS,
  'objective.labelShaping': members,
  'objective.kl.labels': members,
  sft: imitates,
  'mix.round': ['interleaved'],
  'mix.curve': gradual,
  'mix.weight': gradual,
  'mix.warmupSteps': gradual,
  'mix.decaySteps': gradual,
  'mix.labelRate': ['progressive'],
  'mix.share': ['data-mixing'],
};

/** The paradigms that use a key, such as `rollout.group`. */
export function keyUsers(key: string): readonly Paradigm[] {
  for (let at = key; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const found = users[at];
    if (found) return PARADIGMS.filter((each) => found.includes(each));
  }
  return PARADIGMS;
}

export const usesKey = (paradigm: Paradigm, key: string): boolean => keyUsers(key).includes(paradigm);

const uncontrolled = { align: 'off', eliminate: 'off', smooth: 'off' } as const;

/** What a published method is, as settings of what every paradigm is made of. */
export const paradigmDefaults: Readonly<Partial<Record<Paradigm, object>>> = {
  // The label enters groups that failed, with the highest reward (arXiv 2604.16557).
  's-grpo': { label: { ...uncontrolled, inject: 'on-failure' } },
  // The label is taken as sampled with probability 1; gamma as in arXiv 2504.14945, section 3.2.
  luffy: { label: uncontrolled, objective: { labelShaping: 0.1 } },
  // mu falls from 0.9 to 0.05, and tokens of labels weigh p (1 - p): arXiv 2508.11408, equation 5 and appendix A.1.
  chord: { sft: { weighting: 'uncertainty' }, mix: { curve: 'cosine', weight: { start: 0.9, end: 0.05 } } },
  // Tokens weigh p: arXiv 2508.05629, equation 9.
  dft: { sft: { weighting: 'probability' } },
};
