/** Formulas that are made at random, with values that are known: spellings of one are the same, others are not. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sameAnswer } from './algebra.ts';
import { sameValue } from './value.ts';

/** A formula as it may be spelled, and its value where x and y are. */
interface Formula {
  readonly spellings: readonly string[];
  readonly value: (x: number, y: number) => number;
}

const whole = fc
  .integer({ min: 0, max: 12 })
  .map((n): Formula => ({ spellings: [`${n}`, `{${n}}`, `\\left(${n}\\right)`], value: () => n }));
const fraction = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 2, max: 9 })).map(([a, b]): Formula => ({
  spellings: [`\\frac{${a}}{${b}}`, `\\dfrac${a}${b}`, `(${a}/${b})`],
  value: () => a / b,
}));
const variables = fc.constantFrom<Formula>(
  { spellings: ['x', '{x}', '(x)'], value: (x) => x },
  { spellings: ['y', '{y}', '(y)'], value: (_, y) => y },
  { spellings: ['\\pi', '\u03C0', '{\\pi}'], value: () => Math.PI },
);

type Rule = readonly [spell: (a: string, b: string) => string[], value: (a: number, b: number) => number];
const RULES: readonly Rule[] = [
  [(a, b) => [`(${a}+${b})`, `\\left(${b} + ${a}\\right)`], (a, b) => a + b],
  [(a, b) => [`(${a}-${b})`, `(-${b}+${a})`], (a, b) => a - b],
  [(a, b) => [`(${a})\\cdot(${b})`, `(${b})(${a})`], (a, b) => a * b],
  [(a, b) => [`\\frac{${a}}{${b}}`, `{(${a})/(${b})}`], (a, b) => a / b],
  [(a) => [`(${a})^2`, `(${a})^{2}`, `(${a})(${a})`], (a) => a ** 2],
  [(a) => [`\\sqrt{${a}}`, `(${a})^{\\frac12}`], Math.sqrt],
];

const combined = (first: fc.Arbitrary<Formula>, second: fc.Arbitrary<Formula>): fc.Arbitrary<Formula> =>
  fc.tuple(first, second, fc.constantFrom(...RULES)).map(([a, b, [spell, value]]): Formula => ({
    spellings: a.spellings.flatMap((left, i) => spell(left, b.spellings[i % b.spellings.length]!)),
    value: (x, y) => value(a.value(x, y), b.value(x, y)),
  }));

const leaves = fc.oneof(whole, fraction, variables);
const small = combined(leaves, leaves);
const large = combined(small, fc.oneof(leaves, small));

const POINTS = [
  [1.7, 0.6],
  [0.4, 2.3],
  [3.1, 1.9],
] as const;
const formulas = fc
  .oneof(small, large)
  .filter(({ value }) => POINTS.every(([x, y]) => Number.isFinite(value(x, y)) && Math.abs(value(x, y)) < 1e6));

test('spellings of one formula are the same', () => {
  fc.assert(
    fc.property(formulas, fc.nat(), fc.nat(), ({ spellings }, i, j) => {
      const [a, b] = [spellings[i % spellings.length]!, spellings[j % spellings.length]!];
      expect([a, b, sameAnswer(a, b)]).toEqual([a, b, true]);
    }),
    { seed: 3, numRuns: 1500 },
  );
});

test('formulas are the same only where their values are', () => {
  fc.assert(
    fc.property(formulas, formulas, (one, other) => {
      const distances = POINTS.map(([x, y]) => Math.abs(one.value(x, y) - other.value(x, y)));
      const [a, b] = [one.spellings.at(-1)!, other.spellings[0]!];
      const isFar = distances.some((distance) => distance > 1e-6);
      if (isFar) expect([a, b, sameValue(a, b), sameAnswer(a, b)]).toEqual([a, b, false, false]);
      // There are no decimals here, which are rounded.
      else if (sameValue(a, b)) expect(Math.max(...distances)).toBeLessThan(1e-9);
    }),
    { seed: 4, numRuns: 3000 },
  );
});
