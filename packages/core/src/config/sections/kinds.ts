/** Values and users that keys share. */
import { z } from 'zod';
import type { Paradigm } from '../../schedule/paradigm.ts';
import { key, section, type KeyFacts, type Users } from '../facts.ts';

export const positive = z.number().positive();
export const count = z.int().positive();
export const whole = z.int().min(0);
export const fraction = z.number().min(0).max(1);
export const decay = z.number().min(0).lt(1);
export const flag = z.boolean();

export const samples: Users = (paradigm) => paradigm.samples;
export const members: Users = ({ label }) => label === 'member';
export const imitates: Users = ({ label }) => label === 'target';
export const labelled: Users = ({ label }) => label !== 'none';
export const only =
  (...names: readonly Paradigm[]): Users =>
  ({ name }) =>
    names.some((each) => each === name);
export const gradual = only('progressive', 'chord');

/** A step's prompts are all alike, so that others may take their places. */
export const alike: Users = (paradigm) => members(paradigm) || only('rlvr', 'sft-then-rlvr', 'interleaved')(paradigm);

/** Label control of methods that publish none. */
export const uncontrolled: NonNullable<KeyFacts['defaults']> = { 's-grpo': 'off', luffy: 'off' };

/** How token terms become one loss; sequences and prompts are then averaged. */
export const aggregate = (
  tokens: 'sum' | 'mean',
  over: 'sequence' | 'batch',
  [ofTokens, ofOver, ofNormalizer]: readonly [string, string, string],
) =>
  section({
    tokens: key(ofTokens, z.enum(['sum', 'mean']).default(tokens)),
    over: key(ofOver, z.enum(['sequence', 'batch']).default(over)),
    normalizer: key(
      ofNormalizer,
      z.preprocess((value) => (value === 'auto' ? undefined : value), positive.optional()).optional(),
      { unset: 'auto' },
    ),
  }).prefault({});
