/** The thread that algebra.ts asks: expressions are compared by their values at a few points, computed by the library. */
import { ComputeEngine } from '@cortex-js/compute-engine';
import { parentPort, workerData } from 'node:worker_threads';
import { OUTCOMES, usesCalculus, type Equality } from './algebra.ts';
import type { Judge } from './compare.ts';
import { canonical, headOf, isRational, operandsOf, type Expression } from './expression.ts';
import { latexCharacters } from './notation.ts';
import { sameValue } from './value.ts';
import { FUNCTIONS } from './vocabulary.ts';

type Json = number | string | { num: string } | readonly [string, ...Json[]];
type Complex = readonly [re: number, im: number];
type Point = Readonly<Record<string, number>>;

const engine = new ComputeEngine();
engine.precision = 'machine';

const KNOWN = new Set([
  ...FUNCTIONS.values(),
  ...'Add Multiply Divide Power Factorial Binomial Abs Floor Ceil'.split(' '),
]);
const CONSTANTS: Readonly<Record<string, string>> = {
  Pi: 'Pi',
  e: 'ExponentialE',
  i: 'ImaginaryUnit',
  PositiveInfinity: 'PositiveInfinity',
};
/** Relative, of two computations in double precision. */
const TOLERANCE = 1e-9;

/** Places for variables: real ones of both signs, then whole ones, for functions that are defined there alone. */
const PLACES: readonly ((variable: number) => number)[] = [
  (variable) => 0.7390851 + 0.6180339 * variable,
  (variable) => -1.3247179 + 0.4142135 * variable,
  (variable) => 2.2360679 - 1.2020569 * variable,
  (variable) => 3 + 2 * variable,
  (variable) => 7 - variable,
];

const pointsFor = (names: readonly string[]): readonly Point[] =>
  names.length === 0
    ? [{}]
    : PLACES.map((place) => Object.fromEntries(names.map((name, variable) => [name, place(variable)])));

/** Two expressions with the same names for their variables. */
class Pair {
  readonly #names = new Map<string, string>();
  hasDecimals = false;

  points(): readonly Point[] {
    return pointsFor([...this.#names.values()]);
  }

  json(expression: Expression): Json {
    if (isRational(expression)) {
      this.hasDecimals ||= expression.decimal;
      return ['Divide', { num: String(expression.above) }, { num: String(expression.below) }];
    }
    if (typeof expression === 'string') return CONSTANTS[expression] ?? this.#variable(expression);
    const [head] = expression;
    const operands = (): Json[] => operandsOf(expression).map((operand) => this.json(operand));
    if (head === 'Percent') return ['Divide', ...operands(), 100];
    if (head === 'Degrees') return ['Multiply', ...operands(), ['Divide', 'Pi', 180]];
    return KNOWN.has(head) ? [head, ...operands()] : this.#variable(canonical(expression).key);
  }

  #variable(name: string): string {
    const known = this.#names.get(name) ?? `variable${this.#names.size}`;
    this.#names.set(name, known);
    return known;
  }
}

type Boxed = ReturnType<typeof engine.expr>;

function valueAt(expression: Boxed, point: Point): Complex {
  const value = expression.subs(point).N();
  return [value.re, value.im];
}

const size = ([re, im]: Complex): number => Math.hypot(re, im);
const minus = (a: Complex, b: Complex): Complex => [a[0] - b[0], a[1] - b[1]];

const judge: Judge = (a, b) => {
  const head = headOf(a);
  const isEquation = head === 'Equal' || head === 'NotEqual';
  return isEquation || head === 'Less' || head === 'LessEqual' ? sameSolutions(a, b, isEquation) : sameValues(a, b);
};

function sameValues(a: Expression, b: Expression): boolean {
  const pair = new Pair();
  const [x, y] = [engine.expr(pair.json(a)), engine.expr(pair.json(b))];
  return agree(x, y, pair.points(), pair.hasDecimals);
}

/** Equal wherever both are finite, which must be the case somewhere. */
function agree(x: Boxed, y: Boxed, points: readonly Point[], hasDecimals: boolean): boolean {
  let compared = 0;
  for (const point of points) {
    const [left, right] = [valueAt(x, point), valueAt(y, point)];
    const distance = size(minus(left, right));
    if (!Number.isFinite(distance)) continue;
    const larger = Math.max(size(left), size(right));
    const isNear = distance <= TOLERANCE * Math.max(1, larger);
    const isRounded = hasDecimals && distance <= 5e-7 && distance <= 1e-3 * larger;
    if (!isNear && !isRounded) return false;
    compared += 1;
  }
  return compared > 0;
}

/** a = b and c = d, or a < b and c < d, where a - b is a multiple of c - d, by a positive factor where order counts. */
function sameSolutions(first: Expression, second: Expression, isEquation: boolean): boolean {
  const pair = new Pair();
  const difference = (relation: Expression) => {
    const [left, right] = operandsOf(relation).map((side) => pair.json(side));
    return engine.expr(['Subtract', left!, right!] as never);
  };
  const [x, y] = [difference(first), difference(second)];
  const factors: number[] = [];
  for (const point of pair.points()) {
    const [[re, im], [otherRe, otherIm]] = [valueAt(x, point), valueAt(y, point)];
    const factor = re / otherRe;
    if (!Number.isFinite(factor)) continue;
    if (factor === 0 || Math.abs(im - factor * otherIm) > TOLERANCE * Math.max(1, Math.abs(im))) return false;
    factors.push(factor);
  }
  const [factor] = factors;
  if (factor === undefined || (!isEquation && factor < 0)) return false;
  return factors.length > 1 && factors.every((each) => Math.abs(each - factor) <= TOLERANCE * Math.abs(factor));
}

/** Integrals, sums, limits and derivatives, as the library reads them. */
function sameCalculus(a: string, b: string): boolean {
  const [x, y] = [engine.parse(latexCharacters(a)), engine.parse(latexCharacters(b))];
  if (!x.isValid || !y.isValid) return false;
  const names = [...new Set([...x.unknowns, ...y.unknowns])];
  return agree(x.evaluate(), y.evaluate(), pointsFor(names), false);
}

parentPort!.on('message', ({ a, b, cell }: Equality) => {
  let isSame = false;
  try {
    isSame = sameValue(a, b, judge) || ((usesCalculus(a) || usesCalculus(b)) && sameCalculus(a, b));
  } catch {
    // What the library cannot compute is not known to be the same.
  }
  Atomics.store(cell, 0, isSame ? OUTCOMES.same : OUTCOMES.different);
  Atomics.notify(cell, 0);
});

// The library's first computation loads what the others use.
sameValue('x+\\sin x', '\\sin x+2x', judge);

const ready = workerData as Equality['cell'];
Atomics.store(ready, 0, 1);
Atomics.notify(ready, 0);
