/** Keys of the objective of RL. */
import { z } from 'zod';
import { everyParadigm, key, section } from '../facts.ts';
import { positive, count, fraction, flag, samples, members, aggregate } from './kinds.ts';

export const objective = section(
  {
    clip: section({
      low: key('the importance ratio is at least 1 - low', fraction.default(0.2)),
      high: key('the importance ratio is at most 1 + high', positive.default(0.2)),
    }).prefault({}),
    std: key(
      'what advantages are divided by: `sample` or `population` standard deviation of the group, or `none` (Dr.GRPO)',
      z.enum(['sample', 'population', 'none']).default('sample'),
    ),
    baseline: key(
      'what a reward is compared to: the `mean` of its group, or that of the other responses (`leave-one-out`, RLOO, ' +
        'with `std: none`)',
      z.enum(['mean', 'leave-one-out']).default('mean'),
    ),
    ratio: key(
      'importance ratio of every `token`, or of the whole response (`sequence`, GSPO)',
      z.enum(['token', 'sequence']).default('token'),
    ),
    // The label is taken as sampled with probability 1; gamma as in arXiv 2504.14945, section 3.2.
    labelShaping: key(
      'gamma of the ratio p / (p + gamma) that a label has in place of the importance ratio (LUFFY)',
      positive.optional(),
      { users: members, defaults: { luffy: 0.1 }, unset: 'none' },
    ),
    aggregate: aggregate('sum', 'sequence', [
      'tokens become a loss by their `sum` over a response divided by the normalizer (Dr.GRPO), or by their `mean`',
      'a mean is taken over each `sequence` (GRPO), or over all tokens of the `batch` (DAPO)',
      '`auto` is `rollout.maxNewTokens` for a sum, else 1 (1 is equation 9 as written); the run has the number',
    ]),
    kl: section({
      coefficient: key(
        'weight of the k3 penalty towards the reference policy, the difference of log-probabilities clamped to 10; ' +
          '0: none, and no reference model is kept',
        z.number().min(0).default(0),
      ),
      reference: key(
        'the reference policy: what training starts from (`start`), or of an adapter its base (`base`)',
        z.enum(['start', 'base']).default('start'),
      ),
      labels: key('whether the penalty covers labels, too', flag.default(false), { users: members }),
    }).prefault({}),
    truncated: key(
      'a rollout that was cut off at `rollout.maxNewTokens` is taken for any other (`keep`), or left out of the loss ' +
        '(`mask`); its reward counts for its group either way',
      z.enum(['keep', 'mask']).default('keep'),
    ),
    updatesPerBatch: key('optimiser steps on each batch of rollouts', count.default(1), { users: everyParadigm }),
  },
  { users: samples },
).prefault({});
