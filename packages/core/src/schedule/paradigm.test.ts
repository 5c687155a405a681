import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import {
  busiestPart,
  checkParadigm,
  joinsGroups,
  labelsAlone,
  paradigmFaults,
  PARADIGMS,
  promptParts,
  stepWork,
  type ParadigmConfig,
} from './paradigm.ts';

const mix: ParadigmConfig['mix'] = {
  round: { sft: 1, rl: 1 },
  curve: 'linear',
  weight: { start: 1, end: 0 },
  labelRate: { start: 1, end: 0 },
  warmupSteps: 0,
  share: 0.5,
};
const config = (paradigm: ParadigmConfig['paradigm'], changes: Partial<ParadigmConfig> = {}): ParadigmConfig => ({
  paradigm,
  steps: 10,
  promptsPerStep: 8,
  rollout: { group: 4 },
  label: { inject: 'always' },
  mix,
  ...changes,
});

const imitated = { prompts: 8, rollouts: 0, label: 'target' };
const sampled = { prompts: 8, rollouts: 4, label: 'none' };

test.each(['visurf', 's-grpo', 'luffy'] as const)('%s: the label is a response of every group', (paradigm) => {
  const parts = [{ prompts: 8, rollouts: 4, label: 'member' }];
  expect(stepWork(config(paradigm), 1)).toEqual({ rl: 1, sft: 0, parts });
  expect(joinsGroups(config(paradigm))).toBe(true);
});

test('one stage, of RL or of SFT', () => {
  expect(stepWork(config('rlvr'), 1)).toEqual({ rl: 1, sft: 0, parts: [sampled] });
  for (const paradigm of ['sft', 'dft'] as const) {
    expect(stepWork(config(paradigm), 1)).toEqual({ rl: 0, sft: 1, parts: [imitated] });
  }
});

const stages = (changes: Partial<ParadigmConfig> & Pick<ParadigmConfig, 'paradigm'>): number[] =>
  Array.from({ length: 10 }, (_, i) => stepWork(config(changes.paradigm, changes), i + 1).sft);

test('two stages follow each other, or alternate in rounds', () => {
  expect(stages({ paradigm: 'sft-then-rlvr', sftSteps: 4 })).toEqual([1, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
  expect(stages({ paradigm: 'interleaved' })).toEqual([1, 0, 1, 0, 1, 0, 1, 0, 1, 0]);
  const round = { sft: 1, rl: 3 };
  expect(stages({ paradigm: 'interleaved', mix: { ...mix, round } })).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1, 0]);
});

test('progressive: the weight of SFT and the share of labels fall, the weight of RL rises', () => {
  const at = (step: number) => stepWork(config('progressive', { steps: 5 }), step);
  expect(at(1)).toEqual({ rl: 0, sft: 1, parts: [imitated] });
  expect(at(2)).toEqual({
    rl: 0.25,
    sft: 0.75,
    parts: [
      { prompts: 6, rollouts: 4, label: 'target' },
      { prompts: 2, rollouts: 4, label: 'none' },
    ],
  });
  expect(at(3).parts.map(({ prompts }) => prompts)).toEqual([4, 4]);
  expect(at(5)).toEqual({ rl: 1, sft: 0, parts: [sampled] });
});

test('chord: every prompt has a label for as long as it weighs something', () => {
  const chord = config('chord', {
    steps: 3,
    mix: { ...mix, curve: 'cosine', weight: { start: 0.9, end: 0.1 } },
  });
  expect(stepWork(chord, 2).parts).toEqual([{ prompts: 8, rollouts: 4, label: 'target' }]);
  expect([1, 2, 3].map((step) => stepWork(chord, step).sft)).toEqual([0.9, 0.5, 0.1]);
});

test('data mixing: every prompt weighs the same, whatever it is for', () => {
  const work = stepWork(config('data-mixing', { mix: { ...mix, share: 0.3 } }), 1);
  expect(work).toEqual({
    rl: 0.75,
    sft: 0.25,
    parts: [
      { prompts: 2, rollouts: 0, label: 'target' },
      { prompts: 6, rollouts: 4, label: 'none' },
    ],
  });
  expect(promptParts(work).map(({ rollouts }) => rollouts)).toEqual([0, 0, 4, 4, 4, 4, 4, 4]);
});

test('progressive: a step whose share of labels rounds to no prompt is one of RL', () => {
  const long = config('progressive', { steps: 1000 });
  expect(stepWork(long, 937).parts.map(({ prompts }) => prompts)).toEqual([1, 7]);
  expect(stepWork(long, 999)).toEqual({ rl: 1, sft: 0, parts: [sampled] });
});

test('every step of every paradigm has work that can be done, however few the prompts and long the schedule', () => {
  for (const paradigm of PARADIGMS)
    for (const promptsPerStep of [1, 2, 3, 8, 32]) {
      const long = config(paradigm, { steps: 500, promptsPerStep, sftSteps: 200, mix: { ...mix, warmupSteps: 30 } });
      if ([...paradigmFaults(long)].length > 0) continue;
      const works = Array.from({ length: long.steps }, (_, i) => stepWork(long, i + 1));
      expect(new Set(works.map((work) => promptParts(work).length))).toEqual(new Set([promptsPerStep]));
    }
});

test('weights add up to 1, and every prompt has a part, in every step of every paradigm', () => {
  for (const paradigm of PARADIGMS) {
    for (let step = 1; step <= 10; step++) {
      const work = stepWork(config(paradigm, { sftSteps: 3 }), step);
      expect(work.rl + work.sft).toBe(1);
      expect(promptParts(work)).toHaveLength(8);
      for (const { rollouts, label } of work.parts) expect(rollouts > 0 || label === 'target').toBe(true);
    }
  }
});

test('what a paradigm lacks is said', () => {
  const check = (...args: Parameters<typeof config>) => {
    return () => {
      checkParadigm(config(...args));
    };
  };
  const group = (size: number): Partial<ParadigmConfig> => ({ rollout: { group: size } });
  expect(check('rlvr', group(1))).toThrow(UserError);
  expect(check('sft-then-rlvr', { ...group(1), sftSteps: 4 })).toThrow('rollout.group: RL compares');
  expect(check('chord', group(1))).toThrow('at least 2');
  expect(check('s-grpo', { ...group(1), label: { inject: 'on-failure' } })).toThrow('at least 2');
  expect(check('visurf', group(1))).not.toThrow();
  expect(check('sft', group(1))).not.toThrow();
  expect(check('sft-then-rlvr')).toThrow('sftSteps');
  expect(check('sft-then-rlvr', { sftSteps: 10 })).toThrow('less than steps (10)');
  expect(check('data-mixing', { promptsPerStep: 1 })).toThrow('mix.share: of 1 prompts a step 1 are for SFT');
  for (const paradigm of PARADIGMS) expect(check(paradigm, { sftSteps: 3 })).not.toThrow();
});

test('the busiest part has most responses for a prompt, a label among them', () => {
  const busiest = (...args: Parameters<typeof config>) => busiestPart(config(...args));
  expect(busiest('visurf')).toMatchObject({ rollouts: 4, label: 'member' });
  expect(busiest('rlvr')).toMatchObject({ rollouts: 4, label: 'none' });
  expect(busiest('sft')).toMatchObject({ rollouts: 0, label: 'target' });
  // Rollouts outnumber the label of the first stage; with a label beside them there is one more.
  expect(busiest('sft-then-rlvr', { sftSteps: 4 })).toMatchObject({ rollouts: 4, label: 'none' });
  expect(busiest('progressive', { steps: 5 })).toMatchObject({ rollouts: 4, label: 'target' });
  expect(busiest('data-mixing')).toMatchObject({ rollouts: 4, label: 'none' });
  // A schedule of any length is looked at as far as it changes.
  expect(busiest('visurf', { steps: Infinity })).toMatchObject({ rollouts: 4, label: 'member' });
});

test('labels stand alone where nothing is sampled beside them', () => {
  const alone = PARADIGMS.filter((paradigm) => labelsAlone(config(paradigm, { sftSteps: 3 })));
  expect(alone).toEqual(['sft', 'sft-then-rlvr', 'interleaved', 'progressive', 'data-mixing', 'chord', 'dft']);
});

test('every label is imitated while nothing else is, however few are to carry one', () => {
  const rare = { ...mix, labelRate: { start: 0.25, end: 0.25 } };
  expect(stepWork(config('progressive', { mix: rare }), 1).parts).toEqual([imitated]);
});

test('faults say which key they are about', () => {
  const places = (...args: Parameters<typeof config>) =>
    [...paradigmFaults(config(...args))].map(({ path }) => path.join('.'));
  expect(places('sft-then-rlvr')).toEqual(['paradigm']);
  expect(places('sft-then-rlvr', { sftSteps: 10 })).toEqual(['sftSteps']);
  expect(places('data-mixing', { mix: { ...mix, share: 0 } })).toEqual(['mix.share']);
  expect(places('data-mixing', { mix: { ...mix, share: 1 } })).toEqual(['mix.share']);
  expect(places('rlvr', { rollout: { group: 1 } })).toEqual(['rollout.group']);
  expect(places('rlvr', { rollout: { group: 2 } })).toEqual([]);
});
