/** Mathematical expressions as trees, and their exact part: rational numbers and the order of terms. */

/** above / below, not reduced; `decimal` where it was written with a decimal point, hence maybe rounded. */
export interface Rational {
  readonly above: bigint;
  readonly below: bigint;
  readonly decimal: boolean;
}

/** An operator and its operands; names are those of MathJSON. */
export interface Call extends ReadonlyArray<Expression> {
  readonly 0: string;
}

/** A number, a symbol, or an operator with its operands. */
export type Expression = Rational | string | Call;

/** Larger powers are left to floating point. */
const MAX_EXPONENT = 4096n;
/** Bits. Numbers that grow beyond are no longer computed exactly. */
const MAX_SIZE = 16_384;

export const isRational = (expression: Expression): expression is Rational =>
  typeof expression === 'object' && 'above' in expression;
const isCall = (expression: Expression): expression is Call => Array.isArray(expression);
export const headOf = (expression: Expression): string | undefined => (isCall(expression) ? expression[0] : undefined);
export const operandsOf = (expression: Expression): readonly Expression[] =>
  isCall(expression) ? expression.slice(1) : [];

export const rational = (above: bigint | number, below: bigint | number = 1n, decimal = false): Rational => ({
  above: BigInt(above),
  below: BigInt(below),
  decimal,
});
export const HALF = rational(1, 2);
const ONE = rational(1);
const MINUS_ONE = rational(-1);

export const negated = (operand: Expression): Expression =>
  isRational(operand) ? { ...operand, above: -operand.above } : ['Multiply', MINUS_ONE, operand];

/** A decimal with a point or without. */
export function decimal(text: string): Rational {
  const [whole = '', fraction = ''] = text.split('.');
  return rational(BigInt(whole + fraction), 10n ** BigInt(fraction.length), text.includes('.'));
}

const isSmall = (value: bigint): boolean => BigInt.asIntN(MAX_SIZE, value) === value;

/** The number if it is of a size that is computed with. */
const limited = (above: bigint, below: bigint, isDecimal: boolean): Rational | undefined =>
  below !== 0n && isSmall(above) && isSmall(below) ? { above, below, decimal: isDecimal } : undefined;

function plus(a: Rational, b: Rational): Rational | undefined {
  const isDecimal = a.decimal || b.decimal;
  if (a.below === b.below) return limited(a.above + b.above, a.below, isDecimal);
  return limited(a.above * b.below + b.above * a.below, a.below * b.below, isDecimal);
}

const times = (a: Rational, b: Rational): Rational | undefined =>
  limited(a.above * b.above, a.below * b.below, a.decimal || b.decimal);

/** A whole number, as which a rational may be written in many ways. */
const wholeOf = ({ above, below }: Rational): bigint | undefined => (above % below === 0n ? above / below : undefined);

const bits = (value: bigint): bigint => BigInt(value.toString(16).length * 4);

/** base ^ exponent where that is rational and small. */
function power(base: Rational, exponent: Rational): Rational | undefined {
  const whole = wholeOf(exponent);
  if (whole === undefined) return rootPower(base, exponent);
  const size = whole < 0n ? -whole : whole;
  if (size > MAX_EXPONENT || (bits(base.above) + bits(base.below)) * size > MAX_SIZE) return undefined;
  const [above, below] = whole < 0n ? [base.below, base.above] : [base.above, base.below];
  if (below === 0n) return undefined;
  const sign = below < 0n && size % 2n === 1n ? -1n : 1n;
  return limited(sign * above ** size, sign * below ** size, base.decimal || exponent.decimal);
}

/** The value of roots that come out even. */
function rootPower(base: Rational, exponent: Rational): Rational | undefined {
  const [above, below] = reduced(exponent);
  if (below > 64n || bits(base.above) > 4096n || bits(base.below) > 4096n) return undefined;
  const [top, bottom] = reduced(base).map((value) => root(value, below));
  if (top === undefined || bottom === undefined) return undefined;
  return power({ above: top, below: bottom, decimal: base.decimal }, { above, below: 1n, decimal: exponent.decimal });
}

/** A fraction in lowest terms, the denominator positive. */
function reduced({ above, below }: Rational): readonly [bigint, bigint] {
  let [divisor, rest] = [above < 0n ? -above : above, below < 0n ? -below : below];
  while (rest !== 0n) [divisor, rest] = [rest, divisor % rest];
  if (below < 0n) divisor = -divisor;
  return [above / divisor, below / divisor];
}

/** The whole number whose degree-th power is the value; of negative values for odd degrees alone. */
function root(value: bigint, degree: bigint): bigint | undefined {
  if (value < 0n) {
    const positive = degree % 2n === 1n ? root(-value, degree) : undefined;
    return positive === undefined ? undefined : -positive;
  }
  let [low, high] = [0n, 1n << (bits(value) / degree + 1n)];
  while (low < high) {
    const middle = (low + high) / 2n;
    if (middle ** degree < value) low = middle + 1n;
    else high = middle;
  }
  return low ** degree === value ? low : undefined;
}

/** An expression in the one order that all its spellings have: terms sorted, numbers computed, quotients as powers. */
export interface Canonical {
  /** Equal keys are equal expressions; different ones may be. */
  readonly key: string;
  readonly value: Rational | undefined;
  readonly head: string | undefined;
  readonly operands: readonly Canonical[];
}

const ofRational = (value: Rational): Canonical => {
  const [above, below] = reduced(value);
  return { key: below === 1n ? String(above) : `${above}/${below}`, value, head: undefined, operands: [] };
};

const ofCall = (head: string, operands: readonly Canonical[]): Canonical => ({
  key: `${head}(${operands.map(({ key }) => key).join(',')})`,
  value: undefined,
  head,
  operands,
});

/** The canonical form; takes time in proportion to the expression, but for the sorting of terms. */
export function canonical(expression: Expression): Canonical {
  if (typeof expression === 'string') return { key: expression, value: undefined, head: undefined, operands: [] };
  if (isRational(expression)) return ofRational(expression);
  const [head] = expression;
  const operands = operandsOf(expression).map(canonical);
  const [first, second] = operands;
  switch (head) {
    case 'Add':
      return gathered('Add', operands, plus, rational(0));
    case 'Multiply':
      return gathered('Multiply', operands, times, ONE);
    case 'Divide':
      return gathered('Multiply', [first!, toPower(second!, ofRational(MINUS_ONE))], times, ONE);
    case 'Power':
      return toPower(first!, second!);
    default:
      return ofCall(head, operands);
  }
}

function toPower(base: Canonical, exponent: Canonical): Canonical {
  const value = base.value && exponent.value && power(base.value, exponent.value);
  if (value) return ofRational(value);
  if (exponent.key === '1') return base;
  // (x^a)^n and (x y)^n, for whole n only: roots of negative numbers know no such rule.
  if (exponent.value && wholeOf(exponent.value) !== undefined) {
    if (base.head === 'Power' && base.operands[1]!.value) {
      const product = times(base.operands[1]!.value, exponent.value);
      if (product) return toPower(base.operands[0]!, ofRational(product));
    }
    if (base.head === 'Multiply') {
      return gathered(
        'Multiply',
        base.operands.map((operand) => toPower(operand, exponent)),
        times,
        ONE,
      );
    }
  }
  return ofCall('Power', [base, exponent]);
}

/** A sum or a product: nested ones made flat, numbers put together in front, the other operands sorted. */
function gathered(
  head: 'Add' | 'Multiply',
  operands: readonly Canonical[],
  combine: (a: Rational, b: Rational) => Rational | undefined,
  neutral: Rational,
): Canonical {
  const flat = operands.flatMap((operand) => (operand.head === head ? operand.operands : [operand]));
  let total = neutral;
  const others: Canonical[] = [];
  for (const operand of flat) {
    const next = operand.value && combine(total, operand.value);
    if (next) total = next;
    else others.push(operand);
  }
  const number = ofRational(total);
  if (others.length === 0 || (head === 'Multiply' && number.key === '0')) return number;
  others.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const all = number.key === ofRational(neutral).key ? others : [number, ...others];
  return all.length === 1 ? all[0]! : ofCall(head, all);
}
