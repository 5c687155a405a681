/** Words of formulas: functions, names, relations, units. Operators have the names of MathJSON. */

export const FUNCTIONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ...{ sin: 'Sin', cos: 'Cos', tan: 'Tan', cot: 'Cot', sec: 'Sec', csc: 'Csc' },
    ...{ arcsin: 'Arcsin', arccos: 'Arccos', arctan: 'Arctan', sinh: 'Sinh', cosh: 'Cosh', tanh: 'Tanh' },
    ...{ ln: 'Ln', log: 'Log', lg: 'Log', exp: 'Exp', gcd: 'GCD', lcm: 'LCM', max: 'Max', min: 'Min' },
  }),
);

/** What the inverse is, where `f^{-1}` is written for it. */
export const INVERSES: ReadonlyMap<string, string> = new Map(
  Object.entries({ Sin: 'Arcsin', Cos: 'Arccos', Tan: 'Arctan' }),
);

const GREEK =
  'alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon ' +
  'phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell hbar';

/** Commands that are symbols. */
export const NAMES: ReadonlyMap<string, string> = new Map([
  ...GREEK.split(' ').map((name) => [name, name] as const),
  ['pi', 'Pi'],
  ['infty', 'PositiveInfinity'],
  ['infinity', 'PositiveInfinity'],
  ['inf', 'PositiveInfinity'],
  ['imath', 'i'],
  ['emptyset', 'EmptySet'],
  ['varnothing', 'EmptySet'],
]);

export const RELATIONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ...{ '=': 'Equal', '==': 'Equal', equiv: 'Equal', approx: 'Equal', ne: 'NotEqual', neq: 'NotEqual', in: 'Element' },
    ...{ '<': 'Less', lt: 'Less', '<=': 'LessEqual', le: 'LessEqual', leq: 'LessEqual', leqslant: 'LessEqual' },
    ...{ '>': 'Greater', gt: 'Greater', '>=': 'GreaterEqual', ge: 'GreaterEqual', geq: 'GreaterEqual' },
    ...{ geqslant: 'GreaterEqual' },
  }),
);

const UNITS = new Set(
  (
    'mm cm dm km nm in ft yd mi inch inches foot feet yard mile meter metre centimeter centimetre kilometer kilometre ' +
    'millimeter millimetre mg kg lb lbs oz gram kilogram pound ounce ton tonne ml mL dl cl liter litre gallon ' +
    'sec second min minute hr hour day week month year yr ms kmh kph mph km/h rpm degree deg rad radian unit ' +
    'square sq cubic cu point item piece people person student dollar cent euro rupee Hz kHz MHz kW kJ kN kPa Pa mol ' +
    'gallon acre hectare per of'
  ).split(' '),
);

/** Letters that stand for a unit where they stand apart behind a number. */
const UNIT_LETTERS = new Set('m g s h l L J N W V A K C F'.split(' '));

/** Whether a word behind a number is its unit. */
export const isUnit = (word: string): boolean => UNITS.has(word) || UNITS.has(word.replace(/e?s$/, ''));
export const isUnitLetter = (word: string): boolean => UNIT_LETTERS.has(word);
export const isPercent = (word: string): boolean => /^\s*(?:percent|percentage|pct|\\?%)\s*$/.test(word);
