/**
 * When two formulas say the same, as math-verify judges it: numbers by value, decimals by six of them; lists and sets in any
 * order, tuples, intervals and matrices by their places; of `x = 5` against `5` the right side; 50% is 0.5 and also 50;
 * degrees and units count for nothing. Departures, which are listed in docs/tasks.md, are towards what is meant.
 */
import { canonical, headOf, isRational, operandsOf, rational, type Expression, type Rational } from './expression.ts';

/** What decides about two expressions that are not the same by their form. */
export type Judge = (a: Expression, b: Expression) => boolean;

const RELATIONS = new Set(['Equal', 'NotEqual', 'Less', 'LessEqual', 'Element']);
const UNORDERED = new Set(['List', 'Set', 'Union']);
const isRelation = (expression: Expression): boolean => RELATIONS.has(headOf(expression) ?? '');
const isContainer = (expression: Expression): boolean =>
  /^(?:List|Set|Union|Tuple|Interval.*|Matrix|Row)$/.test(headOf(expression) ?? '');
/** Larger collections are compared by their forms alone. */
const MAX_MATCHED = 16;

export function sameExpression(first: Expression, second: Expression, judge: Judge): boolean {
  const same: Judge = (a, b) => sameExpression(a, b, judge);
  const [a, b] = [simplified(first), simplified(second)];
  if (isRelation(a) && isRelation(b)) return sameRelation(a, b, judge);
  if (isRelation(a)) return sidesFor(b, a).some((side) => same(side, b));
  if (isRelation(b)) return sidesFor(a, b).some((side) => same(a, side));
  const [inA, inB] = [headOf(a), headOf(b)];
  if (inA?.startsWith('Chain') && inB !== inA) return sameInterval(a, b, same);
  if (inB?.startsWith('Chain') && inB !== inA) return sameInterval(b, a, same);
  if (isContainer(a) || isContainer(b)) return sameItems(a, b, same);
  if (inA === 'Percent' || inB === 'Percent') return samePercentage(a, b, same);
  return sameScalar(a, b, judge);
}

/** The value without marks that say nothing about it, relations in one direction, both values of a plus-minus. */
function simplified(expression: Expression): Expression {
  const [first, second] = operandsOf(expression);
  switch (headOf(expression)) {
    case 'Degrees':
      return simplified(first!);
    case 'Letters':
      return first === 'R' ? ['Tuple', MINUS_INFINITY, INFINITY] : expression;
    case 'Set':
    case 'List':
      return second === undefined ? simplified(first!) : expression;
    case 'Greater':
      return ['Less', second!, first!];
    case 'GreaterEqual':
      return ['LessEqual', second!, first!];
    case undefined:
    case 'Text':
      return expression;
    default:
      return hasPlusMinus(expression) ? ['List', withSign(expression, 1), withSign(expression, -1)] : expression;
  }
}

const hasPlusMinus = (expression: Expression): boolean =>
  headOf(expression) === 'PlusMinus' || operandsOf(expression).some(hasPlusMinus);

function withSign(expression: Expression, sign: 1 | -1): Expression {
  const head = headOf(expression);
  if (head === undefined) return expression;
  const operands = operandsOf(expression).map((operand) => withSign(operand, sign));
  return head === 'PlusMinus' ? ['Multiply', rational(sign), ...operands] : [head, ...operands];
}

/** What a relation says about something that is none: the value it gives to a name, or the range of a name. */
function sidesFor(other: Expression, relation: Expression): readonly Expression[] {
  const [left, right] = operandsOf(relation) as [Expression, Expression];
  const head = headOf(relation);
  if (head === 'Element') return [right];
  if (head === 'Equal') {
    if (isName(left)) return [right];
    return isName(right) ? [left] : [];
  }
  if (head === 'NotEqual' || !isContainer(other)) return [];
  const isOpen = head === 'Less';
  if (isName(left)) return [isOpen ? ['Tuple', MINUS_INFINITY, right] : ['Interval(]', MINUS_INFINITY, right]];
  if (isName(right)) return [isOpen ? ['Tuple', left, INFINITY] : ['Interval[)', left, INFINITY]];
  return [];
}

const INFINITY = 'PositiveInfinity';
const MINUS_INFINITY: Expression = ['Multiply', rational(-1), INFINITY];

/** x, AB, f(x), (x, y). */
function isName(expression: Expression): boolean {
  if (typeof expression === 'string') return isVariable(expression) && expression !== INFINITY;
  const head = headOf(expression);
  if (head === 'Multiply' || head === 'Tuple') return operandsOf(expression).every(isName);
  if (head === 'Power') return isName(operandsOf(expression)[0]!);
  return head === 'angle' || head === 'overline' || head === 'vec' || head === 'Text';
}

/** a < x <= b and (a, b]. */
function sameInterval(chain: Expression, other: Expression, same: Judge): boolean {
  const [low, name, high] = operandsOf(chain);
  const interval = CHAINS[headOf(chain)!];
  if (interval === undefined || !isName(name!)) return false;
  return same(interval.reversed ? [interval.head, high!, low!] : [interval.head, low!, high!], other);
}

const CHAINS: Readonly<Record<string, { readonly head: string; readonly reversed: boolean }>> = {
  'Chain Less Less': { head: 'Tuple', reversed: false },
  'Chain LessEqual Less': { head: 'Interval[)', reversed: false },
  'Chain Less LessEqual': { head: 'Interval(]', reversed: false },
  'Chain LessEqual LessEqual': { head: 'Interval[]', reversed: false },
  'Chain Greater Greater': { head: 'Tuple', reversed: true },
  'Chain Greater GreaterEqual': { head: 'Interval[)', reversed: true },
  'Chain GreaterEqual Greater': { head: 'Interval(]', reversed: true },
  'Chain GreaterEqual GreaterEqual': { head: 'Interval[]', reversed: true },
};

function sameRelation(a: Expression, b: Expression, judge: Judge): boolean {
  const same: Judge = (x, y) => sameExpression(x, y, judge);
  const head = headOf(a);
  if (head !== headOf(b)) return false;
  const [[left, right], [from, to]] = [operandsOf(a), operandsOf(b)] as [Expression[], Expression[]];
  if (same(left!, from!) && same(right!, to!)) return true;
  if ((head === 'Equal' || head === 'NotEqual') && same(left!, to!) && same(right!, from!)) return true;
  if (head === 'Element' || isContainer(left!) || isContainer(right!)) return false;
  return judge(a, b);
}

/** Equality of collections and of matrices; one that is no collection is equal to none. */
function sameItems(a: Expression, b: Expression, same: Judge): boolean {
  const [inA, inB] = [headOf(a), headOf(b)];
  const [items, others] = [operandsOf(a), operandsOf(b)];
  if (items.length !== others.length || !isContainer(a) || !isContainer(b)) return false;
  const isUnordered = UNORDERED.has(inA!) && UNORDERED.has(inB!) && (inA === 'Union') === (inB === 'Union');
  const isList = (inA === 'Tuple' && inB === 'List') || (inA === 'List' && inB === 'Tuple');
  if (!isUnordered && !isList && inA !== inB) return false;
  if (!isUnordered) return items.every((item, i) => same(item, others[i]!));
  if (items.length <= MAX_MATCHED) return matched(items, others, same);
  const [sorted, sortedOthers] = [items, others].map((list) => list.map((item) => canonical(item).key).sort());
  return sorted!.every((key, i) => key === sortedOthers![i]);
}

/** Whether every item has one of the others for itself. */
function matched(items: readonly Expression[], others: readonly Expression[], same: Judge): boolean {
  const left = [...others];
  return items.every((item) => {
    const place = left.findIndex((other) => same(item, other));
    if (place >= 0) left.splice(place, 1);
    return place >= 0;
  });
}

/** 50% is 50%, 0.5, and 50 where that is a whole number. */
function samePercentage(a: Expression, b: Expression, same: Judge): boolean {
  const [percentage, other] = headOf(a) === 'Percent' ? [a, b] : [b, a];
  const [share] = operandsOf(percentage);
  if (headOf(other) === 'Percent') return same(share!, operandsOf(other)[0]!);
  if (same(['Divide', share!, rational(100)], other)) return true;
  return [share!, other].every((each) => isRational(each) && each.below === 1n) && same(share!, other);
}

/** A symbol without a value of its own. */
const isVariable = (expression: Expression): boolean =>
  typeof expression === 'string' && !['Pi', 'e', 'i'].includes(expression);

function sameScalar(a: Expression, b: Expression, judge: Judge): boolean {
  const [x, y] = [canonical(a), canonical(b)];
  if (x.value && y.value) return sameNumber(x.value, y.value);
  if (x.key === y.key) return true;
  const isWords = headOf(a) === 'Text' || headOf(b) === 'Text';
  const isSettled = (x.value !== undefined || isVariable(a)) && (y.value !== undefined || isVariable(b));
  return !isWords && !isSettled && judge(a, b);
}

const magnitude = (value: bigint): bigint => (value < 0n ? -value : value);

/**
 * Exactly; where one was written as a decimal, up to half a unit of the sixth place, and to three figures, so that small
 * numbers are not all alike.
 */
function sameNumber(a: Rational, b: Rational): boolean {
  const [x, y] = [a.above * b.below, b.above * a.below];
  const distance = magnitude(x - y);
  if (distance === 0n) return true;
  if (!a.decimal && !b.decimal) return false;
  const larger = magnitude(x) > magnitude(y) ? magnitude(x) : magnitude(y);
  return distance * 2_000_000n <= magnitude(a.below * b.below) && distance * 1000n <= larger;
}
