/**
 * LaTeX as answers use it, and the plain notation that stands in for it, to trees. Not a typesetter's grammar: what it
 * does not know makes the text no formula (undefined), and then texts are compared.
 *
 * Units are no part of a value: a text after an operand, or a word for a unit after a number, is left out.
 */
import { normalised } from '../text.ts';
import { decimal, HALF, headOf, isRational, negated, operandsOf, rational, type Expression } from './expression.ts';
import { withoutLayout } from './notation.ts';
import { Cursor, fail, NotMathematics } from './cursor.ts';
import { END, tokensOf, type Token } from './tokens.ts';
import { FUNCTIONS, INVERSES, isPercent, isUnit, isUnitLetter, NAMES, RELATIONS } from './vocabulary.ts';

/** Characters of a formula; longer ones are texts. */
const MAX_LENGTH = 4096;
/** Brackets in brackets. */
const MAX_DEPTH = 64;

/** The formula that a text is; undefined where it is none. */
export function parseLatex(text: string): Expression | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  try {
    return new Parser(tokensOf(withoutLayout(text))).whole();
  } catch (error) {
    if (error instanceof NotMathematics) return undefined;
    throw error;
  }
}

const product = (factors: readonly Expression[]): Expression =>
  factors.length === 1 ? factors[0]! : ['Multiply', ...factors];

const isWhole = ({ kind, text }: Token): boolean => kind === 'number' && /^\d+$/.test(text);
const isConjunction = ({ kind, text }: Token): boolean =>
  (kind === 'text' || kind === 'letters') && /^\s*(?:,\s*)?(?:and|or)\s*$/.test(text);

class Parser extends Cursor {
  #depth = 0;
  /** Inside |..|, where a bar closes. */
  #barred = false;

  /** A formula, or several with commas between them; a full stop may end it. */
  whole(): Expression {
    this.take('approx');
    const items = this.#list();
    this.take('.');
    if (this.next.kind !== 'end') fail();
    return items.length === 1 ? items[0]! : ['List', ...items];
  }

  #list(): Expression[] {
    const items = [this.#relation()];
    while (this.#comma()) items.push(this.#relation());
    return items;
  }

  #comma(): boolean {
    const start = this.at;
    while (this.is(',', ';', 'land', 'lor') || isConjunction(this.next)) this.at += 1;
    return this.at > start;
  }

  /** a, a < b, a < b <= c; of a chain of equations its ends. */
  #relation(): Expression {
    const sides = [this.#union()];
    const relations: string[] = [];
    for (let relation = this.#relationSign(); relation !== undefined; relation = this.#relationSign()) {
      relations.push(relation);
      sides.push(this.#union());
    }
    const [first, last] = [sides[0]!, sides.at(-1)!];
    if (relations.length === 0) return first;
    if (relations.every((relation) => relation === 'Equal')) return ['Equal', first, last];
    if (relations.length === 1) return [relations[0]!, first, last];
    return [`Chain ${relations.join(' ')}`, ...sides];
  }

  #relationSign(): string | undefined {
    const { kind, text } = this.next;
    if (kind !== 'mark' && kind !== 'command') return undefined;
    const double = kind === 'mark' && this.peek(1).text === '=' ? RELATIONS.get(`${text}=`) : undefined;
    const relation = double ?? RELATIONS.get(text);
    if (relation !== undefined) this.at += double === undefined ? 1 : 2;
    return relation;
  }

  #union(): Expression {
    const parts = [this.#ratio()];
    while (this.take('cup')) parts.push(this.#ratio());
    return parts.length === 1 ? parts[0]! : ['Union', ...parts];
  }

  #ratio(): Expression {
    const first = this.#sum();
    return this.take(':', 'colon') ? ['Divide', first, this.#sum()] : first;
  }

  #sum(): Expression {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) fail();
    const terms: Expression[] = [];
    for (;;) {
      const sign = ['+', '-', 'pm', 'mp'].find((each) => this.take(each));
      if (sign === undefined && terms.length > 0) break;
      const term = this.#product();
      terms.push(sign === '-' ? negated(term) : sign === 'pm' || sign === 'mp' ? ['PlusMinus', term] : term);
    }
    this.#depth -= 1;
    return terms.length === 1 ? terms[0]! : ['Add', ...terms];
  }

  #product(): Expression {
    let factors = [this.#unary()];
    for (;;) {
      if (this.#units(factors)) continue;
      if (this.take('*', 'times', 'cdot', 'ast')) factors.push(this.#unary());
      else if (this.take('/', 'div')) factors = [['Divide', product(factors), this.#unary()]];
      else if (this.#startsOperand()) this.#implied(factors);
      else return product(factors);
    }
  }

  /** A factor without a sign before it, or the fraction of a mixed number. */
  #implied(factors: Expression[]): void {
    const afterWhole = isWhole(this.peek(-1)) && factors.length === 1;
    const [first, slash, second] = [this.next, this.peek(1), this.peek(2)];
    const before = headOf(factors[0]!) === 'Text' ? 'words' : this.peek(-1).kind;
    if (first.kind === 'number' && (before === 'number' || before === 'text')) {
      if (!afterWhole || slash.text !== '/' || !isWhole(first) || !isWhole(second)) fail();
      this.at += 3;
      factors[0] = ['Add', factors[0]!, ['Divide', decimal(first.text), decimal(second.text)]];
      return;
    }
    const isFraction = this.is('frac', 'dfrac', 'tfrac', 'cfrac');
    const factor = this.#power();
    const isMixed = afterWhole && isFraction && operandsOf(factor).every(isRational);
    const heads = headOf(factor) === 'Divide' ? operandsOf(factor).map((each) => headOf(each) ?? typeof each) : [];
    const isUnits = heads.includes('Text') && heads.every((each) => each === 'Text' || each === 'string');
    if (isUnits) return;
    if (isMixed) factors[0] = ['Add', factors[0]!, factor];
    // Words before a value, "the answer is 5".
    else if (factors.length === 1 && headOf(factors[0]!) === 'Text') factors[0] = factor;
    else factors.push(factor);
  }

  /** Leaves out the units of the operand before, and their powers and quotients; words for percent count. */
  #units(factors: Expression[]): boolean {
    const start = this.at;
    for (;;) {
      const { kind, text, spaced } = this.next;
      const isWord = kind === 'letters' && (isUnit(text) || (spaced && text.length > 3 && !FUNCTIONS.has(text)));
      const isLetter = kind === 'letters' && spaced && factors.length === 1 && isUnitLetter(text);
      const isAlone =
        isLetter && [END.kind, 'mark'].includes(this.peek(1).kind) && !'+-*'.includes(this.peek(1).text || ' ');
      if (isConjunction(this.next) || !(kind === 'text' || isWord || isAlone)) break;
      this.at += 1;
      if (isPercent(text)) factors.splice(0, factors.length, ['Percent', product(factors)]);
      else if (this.take('^')) this.#argument();
      const { kind: after, text: unit } = this.peek(1);
      const isQuotient = after === 'text' || (after === 'letters' && (isUnit(unit) || isUnitLetter(unit)));
      if (this.is('/', 'cdot') && isQuotient) this.at += 2;
    }
    return this.at > start;
  }

  #startsOperand(): boolean {
    const { kind, text } = this.next;
    if (kind === 'number') return true;
    if (kind === 'letters') return !isConjunction(this.next);
    if (kind === 'mark') return ['(', '[', '{', '\\{'].includes(text) || (text === '|' && !this.#barred);
    return kind === 'command' && !RELATIONS.has(text) && !ENDING.has(text);
  }

  #unary(): Expression {
    if (this.take('-')) return negated(this.#unary());
    if (this.take('+')) return this.#unary();
    return this.#power();
  }

  #power(): Expression {
    let base = this.#operand();
    for (;;) {
      if (this.take('!')) base = ['Factorial', base];
      else if (this.take('%', '\\%')) base = ['Percent', base];
      else if (this.take('degree')) base = ['Degrees', base];
      else if (this.take('^')) base = this.#raised(base);
      else return base;
    }
  }

  #raised(base: Expression): Expression {
    const inBraces = this.is('{') && this.peek(1).text === 'circ' && this.peek(2).text === '}';
    if (!inBraces && !this.is('circ')) return ['Power', base, this.#exponent()];
    this.at += inBraces ? 3 : 1;
    const { kind, text } = this.next;
    if ((kind === 'letters' || kind === 'text') && /^\s*[CFK]\s*$/.test(text)) this.at += 1;
    return ['Degrees', base];
  }

  #exponent(): Expression {
    const isNegative = this.take('-');
    const { kind, text } = this.next;
    let exponent: Expression;
    if (kind === 'number') {
      this.at += 1;
      exponent = decimal(text);
    } else exponent = this.#argument();
    return isNegative ? negated(exponent) : exponent;
  }

  /** What a command takes: a group in braces, one digit, one letter, or one operand. */
  #argument(): Expression {
    if (this.take('{')) {
      const content = this.#relation();
      this.expect('}');
      return content;
    }
    const { kind, text, spaced } = this.next;
    if ((kind === 'number' || kind === 'letters') && /^[^.]./su.test(text)) {
      const [first = ''] = Array.from(text);
      this.tokens[this.at] = { kind, text: text.slice(first.length), spaced };
      return kind === 'number' ? decimal(first) : first;
    }
    return this.#operand();
  }

  #operand(): Expression {
    const { kind, text } = this.next;
    if (kind === 'end') fail();
    this.at += 1;
    if (kind === 'number') return decimal(text);
    if (kind === 'letters') return this.#letters(text);
    if (kind === 'text') return this.#text(text);
    return kind === 'command' ? this.#command(text) : this.#bracket(text);
  }

  /** Letters are symbols each, but for names that are usual without a backslash. */
  #letters(word: string): Expression {
    if (FUNCTIONS.has(word) && word !== 'min' && word !== 'max') return this.#function(FUNCTIONS.get(word)!);
    if (word === 'sqrt') return ['Power', this.#argument(), HALF];
    if (['pi', 'inf', 'infinity'].includes(word)) return NAMES.get(word)!;
    const letters = Array.from(word);
    if (letters.length > 3) fail();
    const last = this.#subscripted(letters.pop()!);
    if (letters.length === 0) return last;
    // A power belongs to the last letter alone.
    const power = this.take('^') ? this.#raised(last) : last;
    return ['Multiply', ...letters, power];
  }

  #text(words: string): Expression {
    const name = FUNCTIONS.get(words.trim());
    if (name !== undefined) return this.#function(name);
    const formula = /\p{L}{2}/u.test(words) ? undefined : parseLatex(words);
    return formula ?? ['Text', normalised(words)];
  }

  #subscripted(name: string): Expression {
    let full = name;
    if (this.take('_')) {
      if (this.take('{')) {
        const start = this.at;
        while (!this.is('}')) this.at += this.next.kind === 'end' ? fail() : 1;
        full += `_${this.tokens
          .slice(start, this.at)
          .map(({ text }) => text)
          .join('')}`;
        this.at += 1;
      } else {
        full += `_${this.next.text}`;
        this.at += this.next.kind === 'end' ? fail() : 1;
      }
    }
    while (this.take("'", 'prime')) full += "'";
    return full;
  }

  #command(name: string): Expression {
    const functionName = FUNCTIONS.get(name);
    if (functionName !== undefined) return this.#function(functionName);
    const symbol = NAMES.get(name);
    if (symbol !== undefined) return /^[A-Z]/.test(symbol) && symbol !== name ? symbol : this.#subscripted(symbol);
    switch (name) {
      case 'frac':
      case 'dfrac':
      case 'tfrac':
      case 'cfrac':
        return ['Divide', this.#argument(), this.#argument()];
      case 'binom':
      case 'dbinom':
        return ['Binomial', this.#argument(), this.#argument()];
      case 'sqrt':
        return this.#root();
      case 'overline':
      case 'bar':
      case 'vec':
      case 'hat':
        return [name, this.#argument()];
      case 'mathbb':
        return ['Letters', this.#argument()];
      case 'lvert':
        return this.#enclosed('Abs', 'rvert');
      case 'lfloor':
        return this.#enclosed('Floor', 'rfloor');
      case 'lceil':
        return this.#enclosed('Ceil', 'rceil');
      case 'begin':
        return this.#matrix();
      case 'angle':
      case 'triangle':
        return [name, this.#operand()];
      default:
        return fail();
    }
  }

  #enclosed(head: string, close: string): Expression {
    const content = this.#sum();
    this.expect(close);
    return [head, content];
  }

  #root(): Expression {
    if (!this.take('[')) return ['Power', this.#argument(), HALF];
    const degree = this.#sum();
    this.expect(']');
    return ['Power', this.#argument(), ['Divide', rational(1), degree]];
  }

  /** sin x, sin 2x, sin(x), sin^2 x, log_2 x. */
  #function(name: string): Expression {
    const base = this.take('_') ? this.#argument() : undefined;
    const exponent = this.take('^') ? this.#exponent() : undefined;
    const factors: Expression[] = [];
    if (this.is('(', '{', '[')) factors.push(this.#operand());
    else
      do factors.push(this.#power());
      while (this.#startsOperand() && !FUNCTIONS.has(this.next.text));
    const argument = product(factors);
    const operands = headOf(argument) === 'Tuple' ? [...operandsOf(argument)] : [argument];
    if (base !== undefined) operands.push(base);
    const inverse = exponent !== undefined && isRational(exponent) && exponent.above === -1n && INVERSES.get(name);
    if (inverse) return [inverse, ...operands];
    const value: Expression = [name, ...operands];
    return exponent === undefined ? value : ['Power', value, exponent];
  }

  /** Brackets: a group, a tuple, an interval, a set, an absolute value. */
  #bracket(open: string): Expression {
    if (open === '|' && !this.#barred) {
      this.#barred = true;
      const content = this.#sum();
      this.#barred = false;
      this.expect('|');
      return ['Abs', content];
    }
    if (!['(', '[', '{', '\\{'].includes(open)) fail();
    const barred = this.#barred;
    this.#barred = false;
    const close = { '(': [')', ']'], '[': [']', ')'], '{': ['}'], '\\{': ['\\}'] }[open]!;
    const isEmpty = open === '\\{' && this.is('\\}');
    const items = isEmpty ? [] : this.#list();
    const closing = close.find((each) => this.take(each)) ?? fail();
    this.#barred = barred;
    if (isEmpty) return 'EmptySet';
    if (open === '\\{') return ['Set', ...items];
    if (items.length === 1) return open + closing === '(]' || open + closing === '[)' ? fail() : items[0]!;
    if (open === '{') return ['List', ...items];
    if (open === '(' && closing === ')') return ['Tuple', ...items];
    return items.length === 2
      ? [`Interval${open}${closing}`, ...items]
      : open + closing === '[]'
        ? ['Tuple', ...items]
        : fail();
  }

  #name(): string {
    this.expect('{');
    const { text } = this.next;
    this.at += 1;
    this.expect('}');
    return text;
  }

  #matrix(): Expression {
    const environment = this.#name();
    if (!/^(?:[pbvBV]?matrix|smallmatrix|array)$/.test(environment)) fail();
    if (environment === 'array') this.#name();
    const rows: Expression[] = [];
    do {
      if (this.is('end')) break;
      const cells = [this.#relation()];
      while (this.take('&')) cells.push(this.#relation());
      rows.push(['Row', ...cells]);
    } while (this.take('\\\\'));
    this.expect('end');
    if (this.#name() !== environment) fail();
    return [environment === 'vmatrix' ? 'Determinant' : 'Matrix', ...rows];
  }
}

/** Commands that begin no operand. */
const ENDING = new Set(
  'cup cap pm mp times cdot div ast colon end rvert rfloor rceil land lor circ degree prime'.split(' '),
);
