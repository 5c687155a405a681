/** Every comparison with the reference, on every configuration (expected values: oracle/configurations.py). */
import { describe, expect, test } from 'vitest';

import type { Comparison } from './comparison.ts';
import { configurationNames, openConfiguration } from './configurations.ts';
import { compareAll } from './parity.ts';

describe.each(configurationNames)('%s', async (name) => {
  const comparisons: Comparison[] = await compareAll(openConfiguration(name));
  test.each(comparisons.map((each) => [each.subject, each] as const))('%s', (_, { distance, tolerance }) => {
    expect(distance).toBeLessThanOrEqual(tolerance);
  });
});
