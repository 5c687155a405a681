import { expect, test } from 'vitest';
import { uniform } from '../philox.ts';
import { separationOf, type ProbedState } from './separation.ts';

const noise = (member: number, at: number): number =>
  [0, 1, 2, 3].reduce((sum, prompt) => sum + uniform({ seed: 1, step: prompt, prompt: 7, member }, at) - 0.5, 0);

/** States of 32 numbers; `shift` moves one direction of those of the first kind. */
const probed = (n: number, shift: number, kinds = ['present', 'absent'], groups = n): ProbedState[] =>
  Array.from({ length: n }, (_, i) => ({
    kind: kinds[i % kinds.length]!,
    group: `picture ${i % groups}`,
    state: Float32Array.from({ length: 32 }, (_each, d) => noise(i, d) + (i % kinds.length === 0 && d < 3 ? shift : 0)),
  }));

test('what is apart is told apart on pictures that were not fitted, and what is not is near chance', () => {
  expect(separationOf(probed(120, 4))!.accuracy).toBeGreaterThan(0.95);
  const none = separationOf(probed(200, 0))!;
  expect(Math.abs(none.accuracy - 0.5)).toBeLessThan(3.5 * none.error);
  const some = separationOf(probed(200, 0.5))!.accuracy;
  expect(some).toBeGreaterThan(none.accuracy);
  expect(some).toBeLessThan(0.95);
  expect(separationOf(probed(120, 4))!.kinds).toEqual({ present: 60, absent: 60 });
});

test('more dimensions than questions, uneven kinds, a dimension that never varies', () => {
  const all = probed(300, 4).filter(({ kind }, i) => kind === 'present' || i % 9 === 0);
  for (const { state } of all) state[31] = 5;
  expect(separationOf(all)!.accuracy).toBeGreaterThan(0.85);
});

test('a picture is never on both sides: what is known of pictures alone separates nothing', () => {
  // Every picture has its own state, and both kinds of question.
  const same = Array.from({ length: 120 }, (_, i): ProbedState => {
    const picture = i >> 1;
    const state = Float32Array.from({ length: 64 }, (_each, d) => noise(picture, d));
    return { kind: i % 2 === 0 ? 'present' : 'absent', group: String(picture), state };
  });
  const found = separationOf(same)!;
  expect(Math.abs(found.accuracy - 0.5)).toBeLessThan(0.15);
});

test('of too few nothing is said', () => {
  expect(separationOf(probed(12, 4))).toBeUndefined();
  expect(separationOf(probed(60, 4, ['present']))).toBeUndefined();
  expect(separationOf(probed(60, 4, undefined, 3))).toBeUndefined();
});
