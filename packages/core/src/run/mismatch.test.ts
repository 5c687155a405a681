import { expect, test } from 'vitest';

import { MismatchGuard } from './mismatch.ts';

test('a warning comes once, above 0.05 nats a token, and not again after a resume', () => {
  const guard = new MismatchGuard();
  expect(guard.observe({})).toBeUndefined();
  expect(guard.observe({ mismatch: 0.05 })).toBeUndefined();
  expect(guard.observe({ mismatch: 0.0512 })).toMatch('0.0512 nats a token');
  expect(guard.observe({ mismatch: 1 })).toBeUndefined();
  expect(new MismatchGuard([{ mismatch: 1 }]).observe({ mismatch: 1 })).toBeUndefined();
});
