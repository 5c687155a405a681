/** Constrained decoding: of all tokens, those that lead to an answer of a schema within the tokens that are left. */
import type { Tokenizer } from '../prompt/tokenizer.ts';
import type { AnswerSchema } from '../tasks/schema.ts';
import { END, shortest, startOf, stepped, type State } from './machine.ts';

/** Masks that are remembered; each has a number per token. */
const REMEMBERED = 64;
/** Characters of an answer that are kept in reserve beside the shortest one. */
const RESERVE = 16;
/** Share of the tokens that a thought may take. */
const THOUGHT = 0.5;

/** What the tokens of a model say, as bytes (a character each); and what of them is free text. */
export class Vocabulary {
  /** By id; undefined for special tokens, and ids without one. */
  readonly texts: readonly (string | undefined)[];
  readonly eosIds: readonly number[];
  readonly size: number;
  /** Ids by their first byte. */
  readonly byFirst: ReadonlyMap<string, readonly number[]>;
  /** Ids with `<` or `>`; all others may stand in free text. */
  readonly tagged: readonly number[];
  readonly free: Float32Array;
  readonly #masks = new Map<string, Float32Array>();

  /** @param size rows of the embedding */
  constructor(tokenizer: Pick<Tokenizer, 'tokenOf' | 'bytesOf' | 'specialIds' | 'eosIds'>, size: number) {
    this.size = size;
    this.eosIds = tokenizer.eosIds;
    this.texts = Array.from({ length: size }, (_, id) =>
      tokenizer.specialIds.has(id) || tokenizer.eosIds.includes(id) ? undefined : tokenizer.bytesOf(id),
    );
    const known = [...this.texts.keys()].filter((id) => (this.texts[id] ?? '') !== '');
    this.byFirst = Map.groupBy(known, (id) => this.texts[id]![0]!);
    this.tagged = known.filter((id) => /[<>]/.test(this.texts[id]!));
    this.free = maskOf(
      size,
      known.filter((id) => !/[<>]/.test(this.texts[id]!)),
    );
  }

  /** [V]: 0 at tokens that may follow, -Infinity at others. @param language that the state is of, for what is remembered */
  allowed(state: State, language: string): Float32Array {
    const key = [language, ...state.map((node) => node.key)].join('\0');
    const found = this.#masks.get(key) ?? this.#make(state);
    this.#masks.delete(key);
    this.#masks.set(key, found);
    for (const oldest of this.#masks.keys()) {
      if (this.#masks.size <= REMEMBERED) break;
      this.#masks.delete(oldest);
    }
    return found;
  }

  #make(state: State): Float32Array {
    const isFree = state.some((node) => node.isFree);
    const mask = isFree ? this.free.slice() : new Float32Array(this.size).fill(-Infinity);
    const candidates = isFree ? this.tagged : [...this.byFirst].flatMap(([first, ids]) => (stepped(state, first).length > 0 ? ids : [])); // prettier-ignore
    for (const id of candidates) if (this.after(state, id).length > 0) mask[id] = 0;
    if (state.includes(END)) for (const id of this.eosIds) mask[id] = 0;
    return mask;
  }

  /** The state behind a token. */
  after(state: State, id: number): State {
    let now = state;
    for (const character of this.texts[id] ?? '\0') {
      now = stepped(now, character);
      if (now.length === 0) break;
    }
    return now;
  }

  /** The tokens that say the beginning of a text. */
  along(text: string): Float32Array {
    if (text === '') return maskOf(this.size, this.eosIds);
    return maskOf(
      this.size,
      (this.byFirst.get(text[0]!) ?? []).filter((id) => text.startsWith(this.texts[id]!)),
    );
  }
}

const maskOf = (size: number, ids: readonly number[]): Float32Array => {
  const mask = new Float32Array(size).fill(-Infinity);
  for (const id of ids) mask[id] = 0;
  return mask;
};

/** One response that is held to a schema. */
export class Constraint {
  readonly #vocabulary: Vocabulary;
  readonly #most: number;
  readonly #reserve: number;
  readonly #language: string;
  #state: State;
  #said = 0;
  /** The answer had to be cut short: it says less than the model would have. */
  isCut = false;

  /** @param maxNewTokens in which the response must end */
  constructor(vocabulary: Vocabulary, schema: AnswerSchema, maxNewTokens: number) {
    [this.#vocabulary, this.#most] = [vocabulary, maxNewTokens];
    this.#language = JSON.stringify(schema);
    this.#state = startOf(schema);
    const one = schema.type === 'array' ? { ...schema, minItems: Math.max(1, schema.minItems ?? 0) } : schema;
    this.#reserve = shortest(startOf(one)).length + RESERVE;
  }

  /** Additive [V]. */
  forbidden(): Float32Array {
    const left = this.#most - this.#said;
    const way = shortest(this.#state);
    const isBefore = this.#state.some((node) => node.isBefore);
    if (isBefore && this.#said >= this.#most * THOUGHT) return this.#vocabulary.along(way);
    if (left > way.length + this.#reserve) return this.#vocabulary.allowed(this.#state, this.#language);
    this.isCut ||= way !== '';
    return this.#vocabulary.along(way);
  }

  push(token: number): void {
    this.#said += 1;
    if (!this.#vocabulary.eosIds.includes(token)) this.#state = this.#vocabulary.after(this.#state, token);
  }
}
