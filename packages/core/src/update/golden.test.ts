/** Golden numbers (testing/parity-updates.ts): a refactor must not move them. */
import { expect, test } from 'vitest';

import { compareUpdates } from '../testing/parity-updates.ts';

test.each([
  ['adamw', 'float64'],
  ['sgd', 'float64'],
  ['adamw', 'float32'],
  ['sgd', 'float32'],
] as const)('four updates with %s, %s', async (name, dtype) => {
  for (const { subject, distance, tolerance } of await compareUpdates(name, dtype)) {
    expect(distance, subject).toBeLessThan(tolerance);
  }
});
