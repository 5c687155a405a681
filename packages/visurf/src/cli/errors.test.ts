import { expect, test, vi } from 'vitest';

import { UserError } from '@visurf/core';
import { exitCodeOf, report } from './errors.ts';

test('of what fails, and then cannot be left either, the first is said', () => {
  const first = new UserError('the file is gone', { where: 'a.yaml' });
  const error = new SuppressedError(
    new Error('leaving failed'),
    new SuppressedError(new Error('closing failed'), first),
  );
  const said = vi.spyOn(console, 'error').mockReturnValue();
  report(error);
  expect(said.mock.calls).toEqual([[expect.stringMatching(/^error: a\.yaml: the file is gone$/)]]);
  expect(exitCodeOf(error)).toBe(2);
  said.mockRestore();
});
