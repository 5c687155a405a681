import { expect, test } from 'vitest';

import { rowOf } from './takeover.ts';

const run = (presentIoU: number[], warnings: { step: number; message: string }[]) => ({
  run: 'visurf',
  metrics: { test: { presentIoU: presentIoU.at(-1)!, nAcc: 100 } },
  curves: { validation: { step: presentIoU.map((_, i) => 4 * (i + 1)), metrics: { presentIoU } }, warnings },
});

test('a run collapsed when less than a third of what the base knew is left', () => {
  const warning = { step: 7, message: 'labels may be taking the policy over: thinking fell from 80% ...' };
  expect(rowOf(run([60, 50, 19, 0], [warning]), 60)).toEqual(['visurf', '7 (thinking)', '12', '0.0', '100.0']);
  expect(rowOf(run([60, 50, 40], []), 60)).toEqual(['visurf', '-', '-', '40.0', '100.0']);
});
