/** Loss and d loss / d log pi against autograd; expected values made by oracle/objective.py. */
import { expect, test } from 'vitest';
import { objectiveFixture, reinforcementDistance, supervisedDistance } from '../testing/parity-objective.ts';

test.each(objectiveFixture.cases)('ViSurf and GRPO: $settings', (each) => {
  expect(reinforcementDistance(each)).toBeLessThan(1e-12);
});

test.each(objectiveFixture.sft)('SFT: $settings', (each) => {
  expect(supervisedDistance(each)).toBeLessThan(1e-12);
});
