import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { checkParadigm, stepTerms, type ParadigmConfig } from './paradigm.ts';

const config = (paradigm: ParadigmConfig['paradigm'], group = 8, sftSteps?: number): ParadigmConfig => ({
  paradigm,
  steps: 10,
  sftSteps,
  rollout: { group },
});

test('terms of a step', () => {
  expect(stepTerms(config('visurf'), 1)).toEqual({ stage: 'visurf', rollouts: 8, label: true, rl: 1, sft: 0 });
  expect(stepTerms(config('rlvr'), 1)).toEqual({ stage: 'rlvr', rollouts: 8, label: false, rl: 1, sft: 0 });
  expect(stepTerms(config('sft'), 1)).toEqual({ stage: 'sft', rollouts: 0, label: true, rl: 0, sft: 1 });
});

test('two stages follow each other', () => {
  const stages = [1, 4, 5, 10].map((step) => stepTerms(config('sft-then-rlvr', 8, 4), step).stage);
  expect(stages).toEqual(['sft', 'sft', 'rlvr', 'rlvr']);
});

test('what a paradigm lacks is said', () => {
  const check =
    (...args: Parameters<typeof config>) =>
    () => {
      checkParadigm(config(...args));
    };
  expect(check('rlvr', 1)).toThrow(UserError);
  expect(check('sft-then-rlvr', 1, 4)).toThrow('at least 2, not 1');
  expect(check('visurf', 0)).toThrow('at least 1');
  expect(check('sft-then-rlvr')).toThrow('sftSteps');
  expect(check('sft-then-rlvr', 8, 10)).toThrow('between 1 and 9');
  expect(check('visurf', 8, 3)).toThrow('has no sftSteps');
  for (const paradigm of ['visurf', 'rlvr', 'sft'] as const) expect(check(paradigm)).not.toThrow();
});
