/** Curves by what they mean: their order, a sentence for each, and when to worry. */
export interface Meaning {
  readonly name: string;
  readonly title: string;
  readonly text: string;
}

export interface Chapter {
  readonly title: string;
  readonly curves: readonly Meaning[];
}

const meaning = (name: string, title: string, text: string): Meaning => ({ name, title, text });

export const CHAPTERS: readonly Chapter[] = [
  {
    title: 'Does it get better?',
    curves: [
      meaning(
        'reward',
        'Reward',
        'Mean reward of all rollouts of a step. It should rise; worry where it falls for tens of steps.',
      ),
      meaning('eval.gIoU', 'gIoU, validation', 'Mean IoU over questions, 1 where both are empty. What the run is for.'),
      meaning(
        'eval.presentIoU',
        'IoU of present objects',
        'Where something is there, how well it is found. Worry where it falls while N-Acc rises: everything becomes [].',
      ),
      meaning(
        'eval.nAcc',
        'N-Acc',
        'Share of absent objects that are answered with []. RLVR alone cannot raise it from 0.',
      ),
      meaning(
        'eval.falseEmpty',
        'False []',
        'Share of present objects that are answered with []. Worry above a few percent.',
      ),
      meaning('eval.accuracy', 'Accuracy, validation', 'Share of right answers.'),
      meaning('eval.rocAuc', 'ROC-AUC, validation', 'How well yes and no are told apart; 50 is chance.'),
      meaning(
        'eval.thinking',
        'Thinking, validation',
        'Share of answers that begin with a thought. Worry where it goes to 0: labels teach to leave it out.',
      ),
    ],
  },
  {
    title: 'What do labels do?',
    curves: [
      meaning(
        'labelActive',
        'Active labels',
        'Share of labels that no rollout reached. It falls as the policy learns; worry where it stays above a half.',
      ),
      meaning(
        'labelAdvantage',
        'A_y',
        'Mean advantage of active labels. Above 0 they pull the policy toward themselves.',
      ),
      meaning(
        'labelLogProb',
        'log π_old(y)',
        'How likely the policy finds the labels, in nats. It rises as they are learned; far below -20 they are out of reach.',
      ),
      meaning(
        'labelGradient',
        'Share of the gradient',
        'How much of the loss the labels make up. Worry near 1: it is supervision then.',
      ),
      meaning('thinking', 'Thinking in rollouts', 'Mean mark for thinking. Worry where it falls toward 0.'),
    ],
  },
  {
    title: 'Is it healthy?',
    curves: [
      meaning('entropy', 'Entropy', 'Nats a sampled token. It falls slowly; worry where it reaches 0, or jumps up.'),
      meaning('length', 'Length', 'Tokens of a rollout.'),
      meaning('cutOff', 'Cut off', 'Share of rollouts that reach the limit of tokens. Worry above a few percent.'),
      meaning(
        'noVariance',
        'Groups without variance',
        'Share of groups whose rollouts earn the same: nothing is learned from them but by the label.',
      ),
      meaning('gradientNorm', 'Norm of the gradient', 'Before clipping. Worry at a thousand times its median.'),
      meaning('ratio', 'Ratio', 'Mean of π / π_old. 1 on policy; worry beyond 0.5 to 2.'),
      meaning('kl', 'KL', 'From the reference, nats a token. Worry above 1.'),
      meaning(
        'loss',
        'Loss',
        'Of the objective. With one update a batch it is near 0 by construction: that is no fault, look at the reward.',
      ),
      meaning('learningRate', 'Learning rate', 'As scheduled.'),
    ],
  },
  {
    title: 'What does it cost?',
    curves: [
      meaning('seconds.rollout', 'Seconds of rollouts', 'Sampling of all groups of a step.'),
      meaning('seconds.update', 'Seconds of the update', 'Forward, backward, optimiser.'),
      meaning('seconds.reward', 'Seconds of rewards', 'Judging all responses.'),
      meaning('memory', 'Memory', 'Highest bytes of tensors on the device of the model. Worry where it keeps growing.'),
    ],
  },
];

const KNOWN = new Set(CHAPTERS.flatMap(({ curves }) => curves.map(({ name }) => name)));

/** `eval.present.gIoU` as `eval.gIoU` of the set `present`. */
function ofSet(name: string): Meaning | undefined {
  const [, set, metric] = /^eval\.([^.]+(?:\.[^.]+)*)\.([^.]+)$/.exec(name) ?? [];
  const known = CHAPTERS[0]?.curves.find((each) => each.name === `eval.${metric}`);
  return known && { name, title: `${known.title} (${set})`, text: known.text };
}

/** Chapters with what the run has; what is not known by a meaning comes last, by its name. */
export function chaptersOf(names: readonly string[]): Chapter[] {
  const present = new Set(names);
  const known = CHAPTERS.map(({ title, curves }) => ({
    title,
    curves: curves.filter(({ name }) => present.has(name)),
  }));
  const [first, ...rest] = known;
  const others: Meaning[] = [];
  const more: Meaning[] = [];
  for (const name of names.filter((each) => !KNOWN.has(each))) {
    const term = name.startsWith('reward.') ? meaning(name, `Reward: ${name.slice(7)}`, TERM) : ofSet(name);
    if (term) more.push(term);
    else others.push(meaning(name, name, 'By its name in events.jsonl.'));
  }
  const chapters = [
    {
      title: first?.title ?? '',
      curves: [
        ...(first?.curves ?? []),
        ...more.toSorted((a, b) => Number(b.name.startsWith('eval.')) - Number(a.name.startsWith('eval.'))),
      ],
    },
    ...rest,
    { title: 'Everything else', curves: others },
  ];
  return chapters.filter(({ curves }) => curves.length > 0);
}

const TERM = 'Mean of this term over all rollouts, before its weight.';
