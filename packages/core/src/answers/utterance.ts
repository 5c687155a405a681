/** One answer as it grows: whole characters, and an end where a stop string is said. */
import { TextStream } from '../prompt/stream.ts';
import type { Told } from '../rollout/turns.ts';

export interface Piece {
  /** May be empty: a character of several tokens comes with the last of them. */
  readonly text: string;
  readonly tokens: readonly Told[];
}

export class Utterance {
  readonly told: Told[] = [];
  readonly #stops: readonly string[];
  readonly #stream: TextStream;
  readonly #onPiece: (piece: Piece) => void;
  #text = '';
  #shown = 0;
  #reported = 0;
  /** A stop string was said; the text ends before it. */
  isStopped = false;

  constructor(
    decode: (tokens: readonly number[]) => string,
    stops: readonly string[],
    onPiece: (piece: Piece) => void,
  ) {
    [this.#stops, this.#onPiece] = [stops, onPiece];
    this.#stream = new TextStream(decode);
  }

  /** What was said, as far as no stop string can still begin in it. */
  get text(): string {
    return this.#text.slice(0, this.#shown);
  }

  /** @param isEnd whether the token only ends the answer. @returns whether a stop string was said */
  push(told: Told, isEnd: boolean): boolean {
    this.told.push(told);
    if (isEnd) {
      this.end();
      return false;
    }
    this.#text += this.#stream.push(told.token);
    const at = this.#stopAt();
    if (at >= 0) {
      this.#text = this.#text.slice(0, at);
      this.isStopped = true;
    }
    this.#show(this.isStopped ? at : this.#text.length - this.#held());
    return this.isStopped;
  }

  /** Shows what was held back. */
  end(): void {
    if (!this.isStopped) this.#text += this.#stream.end();
    this.#show(this.#text.length);
  }

  #stopAt(): number {
    const found = this.#stops.map((stop) => this.#text.indexOf(stop, this.#shown)).filter((at) => at >= 0);
    return found.length === 0 ? -1 : Math.min(...found);
  }

  /** Characters at the end with which a stop string may begin. */
  #held(): number {
    const longest = Math.max(0, ...this.#stops.map((stop) => stop.length - 1));
    for (let count = Math.min(longest, this.#text.length - this.#shown); count > 0; count--) {
      const tail = this.#text.slice(-count);
      if (this.#stops.some((stop) => stop.startsWith(tail))) return count;
    }
    return 0;
  }

  #show(end: number): void {
    const tokens = this.told.slice(this.#reported);
    const text = this.#text.slice(this.#shown, end);
    if (text === '' && tokens.length === 0) return;
    [this.#shown, this.#reported] = [Math.max(this.#shown, end), this.told.length];
    this.#onPiece({ text, tokens });
  }
}
