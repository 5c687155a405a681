/** What the dry run does: a step of every family in every mode. */
import { families } from '../../packages/core/src/families/index.ts';
import { smallModel, variants } from '../../packages/core/src/testing/whole-step.ts';
import type { Case } from './case.ts';

/** By name. */
export function cases(): Record<string, Case> {
  const small = families.flatMap((family) =>
    Object.entries(variants).map(([name, changes]): [string, Case] => [
      `${family.title} ${name}`,
      { model: smallModel(family), changes },
    ]),
  );
  return Object.fromEntries(small);
}
