import { expect, test } from 'vitest';
import { checkLevel, chosenLevel, environmentOf, fileOf, isHeld, levelOf, LEVELS } from './level.ts';
import { multipliesInHalf } from './machine.ts';
import { anotherFits } from './measure.ts';

const machine = (...features: string[]) => ({
  ...{ cpu: 'CPU', cores: 2, memoryGb: 8, kernel: '6', node: 'v24', load: 0 },
  features,
});

test('a level is the one asked for, else the widest of the machine, and never one that it lacks', () => {
  expect(chosenLevel('avx2', ['default', 'avx2', 'avx512'])).toBe('avx2');
  expect(chosenLevel('', ['default', 'avx2'])).toBe('avx2');
  expect(() => chosenLevel('avx512', ['default', 'avx2'])).toThrow('this machine has no AVX512; it has default, avx2');
  expect(() => chosenLevel('sse9', ['default'])).toThrow('no level sse9');
});

test('files say their level', () => {
  for (const level of LEVELS) expect(levelOf(fileOf('a', level))).toBe(level);
  expect(() => levelOf('a.json')).toThrow('a.json does not say its level');
});

test('held is what has more than the level; bfloat16 is of the highest alone', () => {
  const [laptop, server] = [machine('avx2'), machine('avx2', 'avx512f', 'avx512_bf16')];
  expect(LEVELS.map((level) => isHeld(level, laptop))).toEqual([false, false, true]);
  expect(LEVELS.map((level) => isHeld(level, server))).toEqual([true, false, true]);
  expect(LEVELS.map((level) => multipliesInHalf(server, level))).toEqual([false, true, false]);
  expect(multipliesInHalf(laptop, 'avx512')).toBe(false);
});

test('every level says something of every variable, so that none is left from the shell', () => {
  const names = LEVELS.map((level) => Object.keys(environmentOf(level)).sort().join());
  expect(new Set(names).size).toBe(1);
  for (const level of LEVELS) expect(environmentOf(level).ATEN_CPU_CAPABILITY).toBe(level);
});

test('a program at another level is found out; one that does not say is believed', () => {
  expect(() => checkLevel('TRL', 'AVX512', 'avx2')).toThrow('TRL runs at AVX512, not at avx2');
  for (const said of ['AVX2', undefined]) expect(() => checkLevel('TRL', said, 'avx2')).not.toThrow();
});

test('another turn begins only while one of average length fits', () => {
  expect(anotherFits(60, 2, 90)).toBe(true);
  expect(anotherFits(61, 2, 90)).toBe(false);
  expect(anotherFits(1e9, 1)).toBe(true);
});
