/** Text of tokens as they come. */

/**
 * A character that is spread over several tokens is given with the last of them. All pieces together are the text that
 * `decode` gives of all tokens.
 */
export class TextStream {
  readonly #decode: (tokens: readonly number[]) => string;
  /** Tokens behind the last whole character. */
  #pending: number[] = [];

  /** @param decode of a byte-level vocabulary: an unfinished character decodes to U+FFFD */
  constructor(decode: (tokens: readonly number[]) => string) {
    this.#decode = decode;
  }

  /** The text that this token completes, which may be empty. */
  push(token: number): string {
    this.#pending.push(token);
    const text = this.#decode(this.#pending);
    if (text.endsWith('\ufffd')) return '';
    this.#pending = [];
    return text;
  }

  /** What is left when no more tokens come: U+FFFD for bytes that never became a character. */
  end(): string {
    const text = this.#decode(this.#pending);
    this.#pending = [];
    return text;
  }
}
