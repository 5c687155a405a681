/** LaTeX as plain text with Unicode for its symbols, as pylatexenc's latex2text writes it. */
const SYMBOLS: Readonly<Record<string, string>> = {
  ...{ alpha: 'α', beta: 'β', gamma: 'γ', delta: 'δ', epsilon: 'ϵ', zeta: 'ζ', eta: 'η', theta: 'θ', iota: 'ι' },
  ...{ kappa: 'κ', lambda: 'λ', mu: 'μ', nu: 'ν', xi: 'ξ', pi: 'pi', rho: 'ρ', sigma: 'σ', tau: 'τ', upsilon: 'υ' },
  ...{ phi: 'ϕ', varphi: 'φ', chi: 'χ', psi: 'ψ', omega: 'ω', Gamma: 'Γ', Delta: 'Δ', Theta: 'Θ', Lambda: 'Λ' },
  ...{ Xi: 'Ξ', Pi: 'Π', Sigma: 'Σ', Phi: 'Φ', Psi: 'Ψ', Omega: 'Ω', infty: 'inf', cup: 'U', cap: '∩' },
  ...{ cdot: '*', times: '*', div: '÷', pm: '±', mp: '∓', le: '≤', leq: '≤', leqslant: '⩽', ge: '≥', geq: '≥' },
  ...{ geqslant: '⩾', neq: '≠', in: '∈', notin: '∉', subset: '⊂', subseteq: '⊆', to: '→', rightarrow: '→' },
  ...{ Rightarrow: '⇒', leftarrow: '←', mapsto: '↦', emptyset: '∅', varnothing: '∅', circ: '∘', angle: '∠' },
  ...{ perp: '⊥', parallel: '∥', approx: '≈', equiv: '≡', sim: '∼', cong: '≅', ldots: '…', dots: '…', cdots: '⋯' },
  ...{ sin: 'sin', cos: 'cos', tan: 'tan', arcsin: 'arcsin', arccos: 'arccos', arctan: 'arctan', sinh: 'sinh' },
  ...{ cosh: 'cosh', tanh: 'tanh', ln: 'ln', log: 'log', exp: 'exp', lim: 'lim', max: 'max', min: 'min' },
  ...{ int: '∫', sum: '∑', prod: '∏', partial: '∂', mid: '|', prime: "'", quad: '  ', qquad: '    ' },
  ...{ lbrace: '{', rbrace: '}', langle: '⟨', rangle: '⟩', vert: '|', ',': ' ', ';': ' ', ':': ' ', ' ': ' ' },
  ...{ '%': '%', $: '$', '#': '#', '&': '&', _: '_', '{': '{', '}': '}', '\\': '\n' },
};
const MATRICES = new Set(['matrix', 'pmatrix', 'bmatrix', 'array', 'smallmatrix']);
const MAX_DEPTH = 100;
const MACRO = /(?:([a-zA-Z]+)\s*|[^a-zA-Z])/suy;

/** Undefined where pylatexenc fails, or what it does is not known here. */
export function unicodeOf(latex: string): string | undefined {
  try {
    const spaced = latex.replaceAll(/\\[td]frac/g, '\\frac').replaceAll('\\frac', ' \\frac');
    return new Reader(spaced).all().replaceAll('×', '*').replaceAll('π', 'pi').trim();
  } catch (error) {
    if (error instanceof Unreadable) return undefined;
    throw error;
  }
}

class Unreadable extends Error {}

class Reader {
  readonly #text: string;
  #at = 0;
  #depth: number;

  /** @param depth of what it is within */
  constructor(text: string, depth = 0) {
    [this.#text, this.#depth] = [text, depth];
  }

  /** Closing braces that open nothing are left out. */
  all(): string {
    let out = '';
    while (this.#at < this.#text.length) out += this.#until('}');
    return out;
  }

  /** Up to an end, which is taken too. */
  #until(end: string): string {
    let out = '';
    while (this.#at < this.#text.length) {
      if (this.#text.startsWith(end, this.#at)) {
        this.#at += end.length;
        break;
      }
      out += this.#next();
    }
    return out;
  }

  #next(): string {
    if (this.#depth++ > MAX_DEPTH) throw new Unreadable();
    const read = this.#one();
    this.#depth -= 1;
    return read;
  }

  #one(): string {
    const character = this.#text[this.#at++]!;
    switch (character) {
      case '{':
        return this.#until('}');
      case '}':
      case '$':
        return '';
      case '~':
        return '\u00a0';
      case '&':
        return '   ';
      case '\\':
        return this.#macro();
      default:
        return character;
    }
  }

  #macro(): string {
    // A macro of letters takes the space after it along.
    MACRO.lastIndex = this.#at;
    const [name = '', letters] = MACRO.exec(this.#text) ?? [];
    this.#at += name.length;
    if (letters === undefined) return SYMBOLS[name] ?? '';
    switch (letters) {
      case 'frac':
        return `${this.#argument()}/${this.#argument()}`;
      case 'sqrt':
        if (this.#text[this.#at] === '[') this.#optional();
        return `sqrt(${this.#argument()})`;
      case 'begin':
        return this.#environment(this.#argument());
      case 'mathbf':
      case 'mathbb':
      case 'mathcal':
      case 'mathit':
      case 'mathsf':
        return styled(this.#argument(), letters);
      case 'text':
      case 'mbox':
        return this.#argument();
      default:
        return SYMBOLS[letters] ?? '';
    }
  }

  /** A group, a macro or one character. @throws where there is none */
  #argument(): string {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at += 1;
    if (this.#at >= this.#text.length) throw new Unreadable();
    return this.#next();
  }

  /** What is in brackets is left out. @throws where they are not closed */
  #optional(): void {
    let open = 0;
    do {
      const character = this.#text[this.#at];
      if (character === undefined) throw new Unreadable();
      if (character !== '[' && character !== ']') this.#next();
      else [this.#at, open] = [this.#at + 1, open + (character === '[' ? 1 : -1)];
    } while (open > 0);
  }

  #environment(name: string): string {
    if (name === 'array') this.#argument();
    const content = this.#raw(`\\end{${name}}`);
    const read = (text: string): string => new Reader(text, this.#depth).all();
    if (!MATRICES.has(name)) return read(content);
    const rows = content.split('\\\\').map((row) => row.split('&').map((cell) => read(cell).trim()));
    const width = Math.max(...rows.flat().map((cell) => cell.length));
    return `[ ${rows.map((row) => row.map((cell) => cell.padStart(width)).join(' ')).join('; ')} ]`;
  }

  #raw(end: string): string {
    const stop = this.#text.indexOf(end, this.#at);
    const content = this.#text.slice(this.#at, stop < 0 ? undefined : stop);
    this.#at = stop < 0 ? this.#text.length : stop + end.length;
    return content;
  }
}

const STYLES: Readonly<Record<string, number>> = {
  mathbf: 0x1d400,
  mathit: 0x1d434,
  mathsf: 0x1d5a0,
  mathcal: 0x1d49c,
  mathbb: 0x1d538,
};
/** Letters that Unicode had before it had styles. */
const OLDER: Readonly<Record<string, string>> = {
  ...{ mathbbC: 'ℂ', mathbbH: 'ℍ', mathbbN: 'ℕ', mathbbP: 'ℙ', mathbbQ: 'ℚ', mathbbR: 'ℝ', mathbbZ: 'ℤ', mathith: 'ℎ' },
};

/** Letters in a style of mathematics; digits stay as they are. */
const styled = (text: string, style: string): string =>
  text.replaceAll(/[A-Za-z]/g, (letter) => {
    const code = letter.charCodeAt(0);
    const place = code < 97 ? code - 65 : code - 97 + 26;
    return OLDER[style + letter] ?? String.fromCodePoint(STYLES[style]! + place);
  });
