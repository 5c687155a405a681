/** Loss and d loss / d log pi against autograd; expected values made by oracle/objective.py. */
import { expect, test } from 'vitest';
import {
  mixedDistance,
  objectiveFixture,
  reinforcementDistance,
  supervisedDistance,
} from '../testing/parity-objective.ts';

test.each(objectiveFixture.cases)('ViSurf and GRPO: $settings', (each) => {
  expect(reinforcementDistance(each)).toBeLessThan(1e-12);
});

test.each(objectiveFixture.sft)('SFT: $settings', (each) => {
  expect(supervisedDistance(each)).toBeLessThan(1e-12);
});

test.each(objectiveFixture.mixed)('SFT beside GRPO: $settings', (each) => {
  expect(mixedDistance(each)).toBeLessThan(1e-12);
});
