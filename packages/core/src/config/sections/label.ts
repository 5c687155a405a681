/** Keys of the label. */
import { z } from 'zod';
import { key, section } from '../facts.ts';
import { positive, members, labelled, uncontrolled } from './kinds.ts';

/** Switches were `true` and `false`: on means the default. */
const spelledOut = (value: unknown): unknown => (value === true ? 'reward' : value === false ? 'off' : value);

/**
 * The label, and control of its reward where it is a response of the group. S-GRPO: the label enters groups that
 * failed, with the highest reward (arXiv 2604.16557).
 */
export const label = section(
  {
    align: key(
      'the label is written in the form that rollouts use most (`format`), the most likely one (`likelihood`), or ' +
        "the task's first (`off`); `rarest`, the one that rollouts use least, is for measuring what the others are " +
        'worth. Rollouts of the step itself count, with those of the last 16 steps; where a step has labels and no ' +
        'rollouts, a few samples of the base do, drawn before training',
      z.enum(['format', 'likelihood', 'off', 'rarest']).default('format'),
      { users: labelled, defaults: uncontrolled },
    ),
    eliminate: key(
      'thinking mark of the label: none (`on`), full (`off`), the mean of its rollouts (`neutral`)',
      z.enum(['on', 'off', 'neutral']).default('on'),
      { defaults: uncontrolled },
    ),
    thinking: key(
      'thinking mark of a label with reasoning of its own: as `label.eliminate` says (`eliminate`), or the one that ' +
        'it earns (`keep`)',
      z.enum(['eliminate', 'keep']).default('eliminate'),
    ),
    inject: key(
      'the label enters every group (`always`), or those in which no rollout is as accurate (`on-failure`)',
      z.enum(['always', 'on-failure']).default('always'),
      { defaults: { 's-grpo': 'on-failure' } },
    ),
    smooth: key(
      'the label is switched off where a rollout earns as much in all as the label does after `eliminate` ' +
        '(`reward`), or where one is as accurate (`accuracy`), or never (`off`). `true` means ' +
        '`reward`, and `false` `off`',
      z.preprocess(spelledOut, z.enum(['reward', 'accuracy', 'off'])).default('reward'),
      { defaults: uncontrolled },
    ),
    weight: key('what the advantage of the label is multiplied by', positive.default(1)),
  },
  { users: members },
).prefault({});
