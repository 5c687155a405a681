/** The families by name. */
import { UserError } from '../errors.ts';
import type { Family } from '../model/family.ts';
import { idefics3 } from './idefics3/index.ts';
import { internVl } from './internvl/index.ts';
import { qwen25Vl } from './qwen2_5_vl/index.ts';
import { qwen2Vl } from './qwen2_vl/index.ts';
import { qwen35 } from './qwen3_5/index.ts';
import { qwen3Vl } from './qwen3_vl/index.ts';
import { smolVlm } from './smolvlm/index.ts';

export type { Family } from '../model/family.ts';

/** All of them; the first one's coordinates are meant where no model is named. */
export const families: readonly [Family, ...Family[]] = [
  qwen25Vl,
  qwen2Vl,
  qwen3Vl,
  qwen35,
  smolVlm,
  idefics3,
  internVl,
];

/**
 * The family of a `model_type`.
 * @throws UserError naming the known ones; no family is ever taken for another
 */
export function familyOf(type: unknown, where?: string): Family {
  const family = families.find(({ name }) => name === type);
  if (family) return family;
  const known = families.map(({ name }) => name).sort();
  throw new UserError(
    type === undefined ? 'model_type is missing' : `model_type: ${JSON.stringify(type)} is not supported`,
    {
      where,
      remedy: `Supported: ${known.join(', ')}.`,
    },
  );
}
