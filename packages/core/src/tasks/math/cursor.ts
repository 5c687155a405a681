/** A place in a list of tokens, for whoever parses them. */
import { END, type Token } from './tokens.ts';

/** Thrown where a text is no formula that is known; it leaves a parser only to be caught. */
export class NotMathematics extends Error {}

/** @throws NotMathematics */
export function fail(): never {
  throw new NotMathematics();
}

export class Cursor {
  protected readonly tokens: Token[];
  protected at = 0;

  constructor(tokens: Token[]) {
    this.tokens = tokens;
  }

  protected get next(): Token {
    return this.tokens[this.at] ?? END;
  }

  protected peek(offset: number): Token {
    return this.tokens[this.at + offset] ?? END;
  }

  /** Whether one of these marks or commands comes next. */
  protected is(...texts: readonly string[]): boolean {
    const { kind, text } = this.next;
    return (kind === 'mark' || kind === 'command') && texts.includes(text);
  }

  protected take(...texts: readonly string[]): boolean {
    const found = this.is(...texts);
    if (found) this.at += 1;
    return found;
  }

  protected expect(text: string): void {
    if (!this.take(text)) fail();
  }
}
