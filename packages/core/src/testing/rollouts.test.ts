import { expect, test } from 'vitest';

import { families } from '../families/index.ts';
import { rolloutDistance } from './rollouts.ts';
import { smallModel } from './whole-step.ts';

const cases = families.flatMap((family) =>
  (['float32', 'bfloat16', 'float64'] as const).map((precision) => ({ family, precision, title: family.title })),
);

test.each(cases)('$title in $precision: tokens are sampled as they are scored', async ({ family, precision }) => {
  const { distance, rounding, tokens } = await rolloutDistance(smallModel(family), 'cpu', precision);
  expect(tokens).toBeGreaterThan(2000);
  expect(distance).toBeLessThan(2 * rounding + 1e-13);
});
