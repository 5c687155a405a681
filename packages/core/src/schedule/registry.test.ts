/** Paradigms of plugins: what they must say, and schedules that cannot be done. */
import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import type { ParadigmConfig, ParadigmDefinition, StepWork } from './definitions.ts';
import { busiestPart, checkParadigm, joinsGroups, labelsAlone, paradigmFaults, stepWork } from './paradigm.ts';
import { defineParadigm, definitionOf, paradigmNamed, paradigmNames, registerParadigm } from './registry.ts';

const none = (): StepWork => ({ rl: 1, sft: 0, parts: [{ prompts: 8, rollouts: 4, label: 'none' }] });
let count = 0;

/** A configuration with a paradigm of its own. */
function configOf(given: Partial<ParadigmDefinition> = {}, changes: Partial<ParadigmConfig> = {}): ParadigmConfig {
  const { name } = defineParadigm({ name: `own-${++count}`, samples: true, label: 'none', work: none, ...given });
  const mix = {
    round: { sft: 1, rl: 1 },
    curve: 'linear',
    weight: { start: 1, end: 0 },
    labelRate: { start: 1, end: 0 },
  };
  return {
    ...{ paradigm: name, steps: 10, promptsPerStep: 8, rollout: { group: 4 }, label: { inject: 'always' } },
    mix: { ...mix, curve: 'linear', warmupSteps: 0, share: 0.5 },
    ...changes,
  };
}

test('a paradigm is known once it is defined, after those that are published, under one name', () => {
  const own = defineParadigm({ name: 'own-way', samples: true, label: 'none', work: none });
  expect(paradigmNames()).toContain('own-way');
  expect(paradigmNames()[0]).toBe('visurf');
  expect(paradigmNamed('own-way')).toBe(own);
  expect(() => registerParadigm(own)).not.toThrow();
  expect(() => registerParadigm({ ...own })).toThrow('there already is a paradigm named "own-way"');
  expect(() => defineParadigm({ ...own, name: 'rlvr' })).toThrow('there already is a paradigm named "rlvr"');
  expect(paradigmNamed('toString')).toBeUndefined();
  expect(() => definitionOf({ paradigm: 'nothing' })).toThrow('no paradigm is named nothing');
});

test.each(['', 'Own', 'own way', '-own', 'own-', '7own', undefined])('%j is no name', (name) => {
  const given = { name, samples: true, label: 'none', work: none } as unknown as ParadigmDefinition;
  expect(() => defineParadigm(given)).toThrow(UserError);
  expect(() => defineParadigm(given)).toThrow('is no name of a paradigm');
});

test('what is missing is said at once', () => {
  const lacking = { name: 'lacking', label: 'beside' } as unknown as ParadigmDefinition;
  expect(() => defineParadigm(lacking)).toThrow(
    'the paradigm "lacking" lacks samples: true or false, label: member, target or none, work: a function',
  );
  expect(paradigmNames()).not.toContain('lacking');
});

test('the rest of the system reads it as it reads others', () => {
  const [member, target] = [
    { rollouts: 4, label: 'member' },
    { rollouts: 0, label: 'target' },
  ] as const;
  const work = (_: unknown, step: number): StepWork =>
    step === 3
      ? { rl: 0, sft: 2, parts: [{ prompts: 8, ...target }] }
      : { rl: 1, sft: 0, parts: [{ prompts: 8, rollouts: 4, label: 'none' }] };
  const imitating = configOf({ label: 'target', work });
  expect([labelsAlone(imitating), joinsGroups(imitating)]).toEqual([true, false]);
  expect(stepWork(imitating, 3).sft).toBe(2);
  const joining = configOf({ label: 'member', work: () => ({ rl: 1, sft: 0, parts: [{ prompts: 8, ...member }] }) });
  expect([labelsAlone(joining), joinsGroups(joining)]).toEqual([false, true]);
  expect(busiestPart(joining)).toMatchObject(member);
});

const part = (changes: object = {}) => ({ prompts: 8, rollouts: 4, label: 'none', ...changes });
const faults: [said: string, work: object, definition?: Partial<ParadigmDefinition>][] = [
  ['rl NaN and sft 0 are no weights', { rl: NaN }],
  ['rl -1 and sft 0 are no weights', { rl: -1 }],
  ['rl 1 and sft Infinity are no weights', { sft: Infinity }],
  ['rl 1 and sft undefined are no weights', { sft: undefined }],
  ['rl 0 and sft 0 are no weights', { rl: 0 }],
  ['a part has 0 prompts with 4 rollouts each', { parts: [part(), part({ prompts: 0 })] }],
  ['a part has 7.5 prompts with 4 rollouts each', { parts: [part({ prompts: 7.5 })] }],
  ['a part has 8 prompts with -4 rollouts each', { parts: [part({ rollouts: -4 })] }],
  ['its parts have 7 prompts, promptsPerStep is 8', { parts: [part({ prompts: 7 })] }],
  ['a part has 3 rollouts: it has rollout.group (4) of them, or none', { parts: [part({ rollouts: 3 })] }],
  ['it samples, and its paradigm says samples: false', {}, { samples: false }],
  ['its label is a member, and its paradigm says label: none', { parts: [part({ label: 'member' })] }],
  ['its label is a target, and its paradigm says label: none', { parts: [part({ label: 'target' })] }],
  ['prompts have neither rollouts nor a target', { parts: [part({ rollouts: 0 })] }],
  ['prompts have neither', { parts: [part({ rollouts: 0, label: 'member' })] }, { label: 'member' }],
  ['labels are imitated, and sft weighs nothing', { parts: [part({ label: 'target' })] }, { label: 'target' }],
  [
    'RL weighs something, and nothing is sampled',
    { sft: 1, parts: [part({ rollouts: 0, label: 'target' })] },
    { label: 'target' },
  ],
  ['SFT weighs something, and has no labels', { sft: 1 }],
  ['Cannot read properties of undefined', { parts: undefined }],
];

test.each(faults)('%s', (said, work, definition: Partial<ParadigmDefinition> = {}) => {
  // From the second step on: what is wrong later is found before training, too.
  const own = configOf({ ...definition, work: (_, step) => ({ ...none(), ...(step > 1 && work) }) });
  if (definition.samples === undefined) expect(() => stepWork(own, 1)).not.toThrow();
  expect(() => stepWork(own, 2)).toThrow(UserError);
  expect(() => stepWork(own, 2)).toThrow(said);
  expect(() => stepWork(own, 2)).toThrow(`the paradigm ${own.paradigm}, step 2: `);
  expect(() => checkParadigm(own)).toThrow(said);
  expect([...paradigmFaults(own)]).toHaveLength(1);
});

test('a schedule that throws, and faults of its own, are those of its configuration', () => {
  const thrown = configOf({
    work: () => {
      throw new Error('no idea');
    },
  });
  expect(() => checkParadigm(thrown)).toThrow('paradigm: ');
  expect(() => checkParadigm(thrown)).toThrow('step 1: no idea');
  const picky = configOf({ faults: () => [{ path: ['promptsPerStep'], message: 'must be odd' }] });
  expect(() => checkParadigm(picky)).toThrow('promptsPerStep: must be odd');
});
