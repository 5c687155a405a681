import { expect, test } from 'vitest';

import { families } from '../families/index.ts';
import { rolloutDistance } from './rollouts.ts';
import { smallModel } from './whole-step.ts';

const numbers = [
  ...(['float32', 'bfloat16', 'float64'] as const).map((precision) => ({ precision, stream: 'float32' as const })),
  { precision: 'bfloat16', stream: 'bfloat16' } as const,
];
const cases = families.flatMap((family) => numbers.map((each) => ({ ...each, family, title: family.title })));

test.each(cases)('$title, $precision, stream $stream: tokens are sampled as they are scored', async (each) => {
  const model = smallModel(each.family);
  const { distance, rounding, tokens } = await rolloutDistance(model, 'cpu', each.precision, each.stream);
  expect(tokens).toBeGreaterThan(2000);
  expect(distance).toBeLessThan(2 * rounding + 1e-13);
});
