/**
 * Whether sympy makes 0 of an expression, of those that mathruler lets it see: at most two letters, no powers of more than a
 * digit. It is read as Python with implicit multiplication, letter by letter, and computed at several places.
 */
type Complex = readonly [re: number, im: number];
type Values = (name: string) => Complex;
type Expression = (values: Values) => Complex;

/** Relative to the largest number on the way, of two computations in double precision. */
const TOLERANCE = 1e-10;
const PLACES: readonly number[] = [0.7390851, -1.3247179, 2.2360679, -0.4142135, 5.0990195];
const MAX_LENGTH = 2000;

export function isZero(text: string): boolean {
  if (!isAllowed(text)) return false;
  const parsed = parse(text);
  if (parsed === undefined) return false;
  const { expression, isDecimal } = parsed;
  return PLACES.every((place) => {
    let largest = 1;
    const values: Values = (name) => {
      const value: Complex = [place + name.charCodeAt(0) * 0.0031415, name.charCodeAt(0) * 0.0027182];
      largest = Math.max(largest, Math.hypot(...value));
      return value;
    };
    const size = Math.hypot(...expression(values));
    // Decimals are added up as floating-point numbers, here and there.
    return isDecimal ? size === 0 : size <= TOLERANCE * largest;
  });
}

function isAllowed(text: string): boolean {
  if (text.length > MAX_LENGTH || text.includes('^{') || text.includes('^(')) return false;
  if (/\^[0-9]+\^|\^[0-9][0-9]+/.test(text)) return false;
  const letters = text.replaceAll('sqrt', '').replaceAll('frac', '').match(/\p{L}/gu) ?? [];
  return new Set(letters).size <= 2;
}

const TOKEN = /\s*(?:(\d+\.?\d*|\.\d+)|(sqrt|pi|ln|\p{L})|(\*\*|[-+*/^()!]))/uy;

class Syntax extends Error {}

interface Token {
  readonly kind: 'number' | 'name' | 'sign';
  readonly text: string;
}

function tokens(text: string): Token[] {
  const list: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const [, number, name, sign] = TOKEN.exec(text) ?? [];
    const found = number ?? name ?? sign;
    if (found === undefined) throw new Syntax();
    list.push({ kind: number !== undefined ? 'number' : name !== undefined ? 'name' : 'sign', text: found });
  }
  return list;
}

function parse(text: string): { readonly expression: Expression; readonly isDecimal: boolean } | undefined {
  try {
    const list = tokens(text);
    const expression = new Parser(list).whole();
    return { expression, isDecimal: list.some(({ kind, text: token }) => kind === 'number' && token.includes('.')) };
  } catch (error) {
    if (error instanceof Syntax) return undefined;
    throw error;
  }
}

const MAX_DEPTH = 100;

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(list: readonly Token[]) {
    this.#tokens = list;
  }

  whole(): Expression {
    const expression = this.#sum();
    if (this.#at < this.#tokens.length) throw new Syntax();
    return expression;
  }

  #take(...signs: string[]): string | undefined {
    const token = this.#tokens[this.#at];
    if (token?.kind !== 'sign' || !signs.includes(token.text)) return undefined;
    this.#at += 1;
    return token.text;
  }

  #sum(): Expression {
    if (this.#depth++ > MAX_DEPTH) throw new Syntax();
    let left = this.#product();
    for (let sign = this.#take('+', '-'); sign !== undefined; sign = this.#take('+', '-')) {
      const [a, b, by] = [left, this.#product(), sign === '+' ? 1 : -1];
      left = (values) => add(a(values), b(values), by);
    }
    this.#depth -= 1;
    return left;
  }

  #product(): Expression {
    let left = this.#factor();
    for (;;) {
      const sign = this.#take('*', '/');
      const next = this.#tokens[this.#at];
      const isImplicit = next !== undefined && (next.kind !== 'sign' || next.text === '(');
      if (sign === undefined && !isImplicit) return left;
      const [a, b] = [left, this.#factor()];
      left = sign === '/' ? (values) => divide(a(values), b(values)) : (values) => multiply(a(values), b(values));
    }
  }

  #factor(): Expression {
    const sign = this.#take('+', '-');
    if (sign === undefined) return this.#power();
    if (this.#depth++ > MAX_DEPTH) throw new Syntax();
    const inner = this.#factor();
    this.#depth -= 1;
    return sign === '+' ? inner : (values) => multiply([-1, 0], inner(values));
  }

  #power(): Expression {
    let base = this.#atom();
    while (this.#take('!') !== undefined) {
      const inner = base;
      base = (values) => [factorial(inner(values)), 0];
    }
    if (this.#take('**', '^') === undefined) return base;
    const [own, exponent] = [base, this.#factor()];
    return (values) => power(own(values), exponent(values));
  }

  #atom(): Expression {
    const token = this.#tokens[this.#at++];
    if (token?.kind === 'number') {
      const value: Complex = [Number(token.text), 0];
      return () => value;
    }
    if (token?.kind === 'name') return this.#name(token.text);
    if (token?.text !== '(') throw new Syntax();
    return this.#closed();
  }

  #closed(): Expression {
    const inner = this.#sum();
    if (this.#take(')') === undefined) throw new Syntax();
    return inner;
  }

  #name(name: string): Expression {
    if (name === 'pi') return () => [Math.PI, 0];
    if (name === 'sqrt' || name === 'ln') {
      if (this.#take('(') === undefined) throw new Syntax();
      const inner = this.#closed();
      return (values) => (name === 'ln' ? logarithm(inner(values)) : power(inner(values), [0.5, 0]));
    }
    return (values) => values(name);
  }
}

const add = (a: Complex, b: Complex, by: number): Complex => [a[0] + by * b[0], a[1] + by * b[1]];

const multiply = ([a, b]: Complex, [c, d]: Complex): Complex => [a * c - b * d, a * d + b * c];

function divide([a, b]: Complex, [c, d]: Complex): Complex {
  if (d === 0) return [a / c, b / c];
  const size = c * c + d * d;
  return [(a * c + b * d) / size, (b * c - a * d) / size];
}

const logarithm = ([a, b]: Complex): Complex => [Math.log(Math.hypot(a, b)), Math.atan2(b, a)];

function power(base: Complex, exponent: Complex): Complex {
  const [x, y] = [base[0], exponent[0]];
  if (base[1] === 0 && exponent[1] === 0 && (x >= 0 || Number.isInteger(y))) return [x ** y, 0];
  const [re, im] = multiply(exponent, logarithm(base));
  return [Math.exp(re) * Math.cos(im), Math.exp(re) * Math.sin(im)];
}

function factorial([value, im]: Complex): number {
  if (!Number.isInteger(value) || value < 0 || value > 170 || im !== 0) return NaN;
  return Array.from({ length: value }, (_, i) => i + 1).reduce((product, each) => product * each, 1);
}
