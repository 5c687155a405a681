/**
 * mathruler's verdict on two answers, which published rewards for mathematics use: equal after the normalisation of MATH, or
 * after its own, or as formulas (sympy's simplification of the difference to 0; here its value at several places). It is
 * kept with its quirks: `\frac{x+1}{2}` is read as x + 1/2, fractions must be reduced, a whole number is equal to no formula.
 *
 * Departure: of the hundreds of macros that it turns into Unicode those of school mathematics are known (unicode.ts).
 */
import { pythonFloat, pythonStrip } from '../python.ts';
import { isZero } from './sympy.ts';
import { unicodeOf } from './unicode.ts';

/** The content of the last `\boxed{`, as mathruler finds it; undefined where it is not closed (its "None"). */
export function mathrulerBoxed(text: string): string | undefined {
  const start = text.lastIndexOf('\\boxed{');
  if (start < 0) return undefined;
  const content = text.slice(start + '\\boxed{'.length);
  let depth = 0;
  for (const { 0: brace, index } of content.matchAll(/[{}]/g)) {
    depth += brace === '{' ? 1 : -1;
    if (depth < 0) return pythonStrip(content.slice(0, index));
  }
  return undefined;
}

export function mathrulerEqual(given: string, truth: string): boolean {
  if (asMath(truth) === asMath(given)) return true;
  const [own, said] = [normalise(truth), normalise(given)];
  if (own === said) return true;
  if (said === '') return false;
  const [items, others] = [itemsOf(own), itemsOf(said)];
  if (items.length > 1 && (!own.startsWith(said.charAt(0)) || own.at(-1) !== said.at(-1))) return false;
  return items.length === others.length && items.length > 0 && items.every((item, i) => sameItem(item, others[i]!));
}

function sameItem(own: string, said: string): boolean {
  if (isFraction(own) && isFraction(said)) return own === said;
  return isWhole(own) === isWhole(said) && isZero(`(${own})-(${said})`);
}

const TEXT = /^\\text\{([^\n]+?)\}\n?$/;

/** As the release of the MATH dataset compares; where that fails, the text without white space around it. */
function asMath(answer: string): string {
  const stripped = pythonStrip(answer);
  const [, inner] = TEXT.exec(stripped) ?? [];
  const text = inner === undefined ? stripped : pythonStrip(inner);
  return stripMath(text) ?? text;
}

/** Undefined where the published code throws. */
function stripMath(given: string): string | undefined {
  let text = given
    .replaceAll('\n', '')
    .replaceAll('\\!', '')
    .replaceAll('\\\\', '\\')
    .replaceAll(/[td]frac/g, 'frac')
    .replaceAll(/\\(?:left|right)/g, '')
    .replaceAll(/\^(?:\{\\circ\}|\\circ)/g, '')
    .replaceAll('\\$', '');
  const parts = text.split('\\text{ ');
  if (parts.length > 2) return undefined;
  text = parts[0]!.replaceAll('\\%', '').replaceAll('%', '').replaceAll(' .', ' 0.').replaceAll('{.', '{0.');
  if (text === '') return '';
  if (text.startsWith('.')) text = `0${text}`;
  const sides = text.split('=');
  if (sides.length === 2 && sides[0]!.length <= 2) text = sides[1]!;
  const roots = bracedRoots(text);
  if (roots === undefined) return undefined;
  const fractions = bracedFractions(roots.replaceAll(' ', ''));
  if (fractions === undefined) return undefined;
  return slashed(fractions === '0.5' ? '\\frac{1}{2}' : fractions);
}

function bracedRoots(text: string): string | undefined {
  const [first, ...rest] = text.split('\\sqrt');
  if (rest.includes('')) return undefined;
  return [first!, ...rest.map((part) => (part.startsWith('{') ? part : `{${part[0]!}}${part.slice(1)}`))].join(
    '\\sqrt',
  );
}

function bracedFractions(text: string): string | undefined {
  const [first, ...rest] = text.split('\\frac');
  if (rest.includes('')) return undefined;
  if (rest.some((part) => part.length < 2 && !part.startsWith('{'))) return text;
  const braced = rest.map((part) => {
    const [above, below, after] = [part[0]!, part[1]!, part.slice(2)];
    if (above === '{') return part;
    return below === '{' ? `{${above}}${below}${after}` : `{${above}}{${below}}${after}`;
  });
  return [first!, ...braced].join('\\frac');
}

/** a/b as a fraction, where both are whole numbers as they are written. */
const slashed = (text: string): string => {
  const whole = '(0|-?[1-9]\\d*)';
  return text.replace(new RegExp(`^${whole}/${whole}$`), '\\frac{$1}{$2}');
};

const UNITS = 'degree cm centimeter meter mile second minute hour day week month year foot feet inch yard'.split(' ');

function normalise(answer: string): string {
  const [, inner] = TEXT.exec(answer) ?? [];
  let text = (inner ?? answer)
    .replaceAll('\\%', '%')
    .replaceAll('\\$', '$')
    .replaceAll(/[$%]/g, '')
    .replaceAll(' or ', ' , ')
    .replaceAll(' and ', ' , ')
    .replaceAll('million', '*10^6')
    .replaceAll('billion', '*10^9')
    .replaceAll('trillion', '*10^12');
  for (const unit of UNITS) text = text.replaceAll(new RegExp(`${unit}(?:es)?s? *(?:\\^[0-9]+)?`, 'g'), '');
  text = text.replaceAll(/\^ *\\circ/g, '');
  if (text.startsWith('{') && text.endsWith('}')) text = text.slice(1, -1);
  text = text.replaceAll(/,\\! */g, '');
  const value = pythonFloat(text);
  if (value !== undefined && Math.abs(value - Math.round(value)) <= 1e-7) text = BigInt(Math.round(value)).toString();
  if (text.includes('\\')) text = unicodeOf(text) ?? text;
  text = text
    .replaceAll(/- */g, '-')
    .replaceAll(/([0-9]) +([0-9])/g, '$1+$2')
    .replaceAll(/[ {}]/g, '')
    .toLowerCase();
  return isWhole(text) ? wholeOf(text) : text;
}

function withoutThousands(text: string): string {
  for (let before = ''; before !== text;) {
    before = text;
    text = text.replaceAll(/(\d),(\d\d\d)($|\D)/g, '$1$2$3');
  }
  return text;
}

function isWhole(text: string): boolean {
  const value = pythonFloat(withoutThousands(text));
  return value !== undefined && Math.abs(value - Math.round(value)) <= 1e-7;
}

/** What is not written with thousands may be another number without its commas, or none. */
function wholeOf(text: string): string {
  const value = pythonFloat(text.replaceAll(',', ''));
  return value === undefined || !Number.isFinite(value) ? text : BigInt(Math.trunc(value)).toString();
}

const isFraction = (text: string): boolean => /^-?[0-9]+[^\n]?\/0*[1-9][0-9]*[^\n]?$/.test(text);

/** The items of a tuple or an interval; anything else is one item. */
function itemsOf(answer: string): string[] {
  const text = withoutThousands(answer);
  if (text === '') return [];
  const isTuple = text.length > 2 && /^[()[\]][^()[\]]*[()[\]]$/.test(text);
  return isTuple ? text.slice(1, -1).split(',').map(pythonStrip) : [text];
}
