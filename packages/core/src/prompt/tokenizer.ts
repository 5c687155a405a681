/**
 * Text to token ids and back, by the checkpoint's own tokenizer.
 *
 * Text from users and models is not control: special tokens inside it are encoded letter by letter, as transformers does
 * with `split_special_tokens=True`; other added tokens (`<think>` in some checkpoints) keep matching. Departures from
 * `@huggingface/tokenizers`: `(?i:` in the splitting pattern folds like the reference's (long s and the Kelvin sign), ids
 * without a token decode to nothing, and no spaces are cleaned up.
 */
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { invariant, messageOf, UserError } from '../errors.ts';
import { readJson } from './files.ts';
import { limited } from '../patterns.ts';
import { readTokenizerFiles, unknownPatterns, type TokenizerFile } from './tokenizer-files.ts';

const ids = z.union([z.int().transform((id) => [id]), z.array(z.int())]).nullish();
const idConfig = z.looseObject({ eos_token_id: ids, pad_token_id: z.int().nullish() });
const modelConfig = idConfig.extend({ text_config: idConfig.optional() });

/** What we use of the library, whose own declarations do not resolve here. */
interface Library {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
  decode(ids: readonly number[], options: { clean_up_tokenization_spaces: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
}
const Library = LibraryTokenizer as unknown as new (file: object, config: object) => Library;

export class Tokenizer {
  /**
   * Ids that end a response: that of the chat template, the tokenizer's own, and those of generation_config.json (or
   * config.json), which may all differ.
   */
  readonly eosIds: readonly number[];
  /** The one of them that a label ends with: the chat template's, where it has one. */
  readonly eosId: number;
  /** Text that the chat template writes between the words of a turn and its end; mostly none. */
  readonly beforeEos: string;
  readonly padId: number;
  /** Ids of control tokens. */
  readonly specialIds: ReadonlySet<number>;
  readonly #file: TokenizerFile;
  readonly #where: string | undefined;
  /** Expressions of the file that nobody has vouched for. */
  readonly #unknown: readonly string[];
  /** Why they are not run any more: there may be a text for every sample. */
  #refusal: UserError | undefined;
  readonly #control: Library;
  readonly #controlPattern: RegExp;
  #plainOnDemand: Library | undefined;

  /**
   * @param turnEnd what the chat template writes behind an assistant's words
   * @param right `file` where tokenizer.json is right whatever class is declared
   * @throws UserError where files are missing or malformed
   */
  static load(directory: string, turnEnd = '', right?: 'file'): Tokenizer {
    const { file, config } = readTokenizerFiles(directory, right);
    const model = readJson(directory, 'config.json', modelConfig) ?? {};
    const generation = readJson(directory, 'generation_config.json', idConfig) ?? {};
    try {
      return new Tokenizer(file, {
        eosToken: config.eos_token ?? undefined,
        padToken: config.pad_token ?? undefined,
        eosIds: generation.eos_token_id ?? model.eos_token_id ?? model.text_config?.eos_token_id ?? [],
        padId: generation.pad_token_id ?? model.pad_token_id ?? model.text_config?.pad_token_id ?? undefined,
        turnEnd,
        where: `${directory}/tokenizer.json`,
      });
    } catch (error) {
      throw error instanceof UserError
        ? error
        : new UserError(messageOf(error), { where: `${directory}/tokenizer.json` });
    }
  }

  constructor(
    file: TokenizerFile,
    names: {
      eosToken?: string | undefined;
      padToken?: string | undefined;
      eosIds?: readonly number[];
      padId?: number | undefined;
      turnEnd?: string;
      /** The file, for messages. */
      where?: string;
    },
  ) {
    this.#unknown = unknownPatterns(file);
    this.#where = names.where;
    this.#file = withReferenceFolding(file);
    this.#control = this.#opened(this.#file);
    const special = this.#file.added_tokens.filter((added) => added.special);
    this.specialIds = new Set(special.map(({ id }) => id));
    const longestFirst = special.map(({ content }) => content).sort((a, b) => b.length - a.length);
    this.#controlPattern = new RegExp(`(${longestFirst.map((text) => RegExp.escape(text)).join('|') || '(?!)'})`, 'u');

    const { before, turnEnd } = this.#firstToken(names.turnEnd ?? '');
    this.beforeEos = before;
    const named = [turnEnd, names.eosToken].map((content) => (content === undefined ? undefined : this.idOf(content)));
    // Files of a model and of its tokenizer may come from different places.
    const configured = names.eosIds?.filter((id) => this.tokenOf(id) !== undefined) ?? [];
    const [ofTurn, own] = named;
    const eosId = ofTurn ?? (own !== undefined && configured.includes(own) ? own : (configured[0] ?? own));
    if (eosId === undefined) {
      throw new UserError('the tokenizer names no token that ends a response', {
        remedy: 'Set eos_token in tokenizer_config.json, or eos_token_id in generation_config.json.',
      });
    }
    this.eosId = eosId;
    this.eosIds = [...new Set([eosId, ...named.filter((id) => id !== undefined), ...configured])];
    const padId = names.padId !== undefined && this.tokenOf(names.padId) !== undefined ? names.padId : undefined;
    this.padId = padId ?? (names.padToken === undefined ? undefined : this.idOf(names.padToken)) ?? eosId;
  }

  /** The first control token of a text and what stands before it; some files do not declare theirs as special. */
  #firstToken(text: string): { before: string; turnEnd: string | undefined } {
    const [before = '', turnEnd] = text.split(this.#controlPattern);
    if (turnEnd !== undefined) return { before, turnEnd };
    const whole = this.#file.added_tokens.find(({ content }) => content === text.trim());
    return { before: whole ? text.slice(0, text.indexOf(whole.content)) : '', turnEnd: whole?.content };
  }

  /** Id of a token by its text, undefined where there is none. */
  idOf(content: string): number | undefined {
    return this.#control.token_to_id(content);
  }

  /** Text of one token as it stands in the vocabulary, undefined where there is none. */
  tokenOf(id: number): string | undefined {
    return this.#control.id_to_token(id);
  }

  /** What a token says, as bytes, a character each; undefined where there is none. */
  bytesOf(id: number): string | undefined {
    const content = this.tokenOf(id);
    if (content === undefined) return undefined;
    const isAdded = this.#file.added_tokens.some((added) => added.id === id);
    if (isAdded) return Buffer.from(content).toString('latin1');
    return Array.from(content, (character) => String.fromCharCode(BYTES.get(character) ?? 0)).join('');
  }

  /** Ids below `size` without a token: embeddings are padded, and no text has these. */
  missingIds(size: number): number[] {
    return Array.from({ length: size }, (_, id) => id).filter((id) => this.tokenOf(id) === undefined);
  }

  /** The token with the largest id: an embedding needs a row for it. */
  get largest(): { readonly id: number; readonly content: string } {
    const all = [
      ...Object.entries(this.#file.model.vocab).map(([content, id]) => ({ id, content })),
      ...this.#file.added_tokens,
    ];
    return all.reduce((a, b) => (b.id > a.id ? b : a));
  }

  /** Whether text holds what would be a control token. */
  hasSpecial(text: string): boolean {
    return this.#controlPattern.test(text);
  }

  /**
   * Ids of text in which nothing is control.
   * @throws UserError where an expression of the file takes too long, as in all that reads or writes text
   */
  encodeText(text: string): number[] {
    const library = this.#libraryOf(text);
    return this.#limited(text.length, () => encode(library, text));
  }

  #libraryOf(text: string): Library {
    if (!this.hasSpecial(text)) return this.#control;
    return (this.#plainOnDemand ??= this.#opened(withoutSpecial(this.#file)));
  }

  #opened(file: TokenizerFile): Library {
    return this.#limited(32 * Object.keys(file.model.vocab).length, () => new Library(file, {}));
  }

  #limited<T>(characters: number, work: () => T): T {
    if (this.#refusal) throw this.#refusal;
    const [expressions, where] = [this.#unknown, this.#where];
    try {
      return expressions.length === 0 ? work() : limited(work, { expressions, where, characters });
    } catch (error) {
      if (error instanceof UserError) this.#refusal = error;
      // Replacements may double a text again and again.
      if (!(error instanceof RangeError && error.message.includes('string length'))) throw error;
      throw (this.#refusal = new UserError('its replacements make too long a text', { where }));
    }
  }

  /**
   * Ids of a rendered prompt, given in pieces. Only control pieces may hold special tokens; the text between two of those
   * is encoded as a whole, so that words merge over the borders of pieces as they do in the reference.
   */
  encodePieces(pieces: readonly Piece[]): number[] {
    const parts: (string | number)[] = [];
    let text = '';
    for (const piece of pieces) {
      const texts = piece.control ? piece.text.split(this.#controlPattern) : [piece.text];
      texts.forEach((part, index) => {
        if (index % 2 === 0) {
          text += part;
          return;
        }
        parts.push(text, this.idOf(part)!);
        text = '';
      });
    }
    parts.push(text);
    const all = parts.map((part) => (typeof part === 'string' ? { part, library: this.#libraryOf(part) } : [part]));
    const characters = pieces.reduce((total, { text: each }) => total + each.length, 0);
    return this.#limited(characters, () =>
      all.flatMap((each) => ('part' in each ? encode(each.library, each.part) : each)),
    );
  }

  /** Text of ids. Special tokens are left out unless `special` is set; ids without a token give nothing. */
  decode(tokens: readonly number[], { special = false } = {}): string {
    const known = tokens.filter((id) => this.tokenOf(id) !== undefined && (special || !this.specialIds.has(id)));
    if (known.length === 0) return '';
    return this.#limited(16 * known.length, () => this.#control.decode(known, { clean_up_tokenization_spaces: false }));
  }
}

/** The bytes that characters of a byte-level vocabulary stand for: printable ones for themselves, the others in order. */
const BYTES: ReadonlyMap<string, number> = (() => {
  const isShown = (byte: number): boolean => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let hidden = 0;
  return new Map(
    Array.from({ length: 256 }, (_, byte) => [String.fromCharCode(isShown(byte) ? byte : 256 + hidden++), byte]),
  );
})();

/** A part of a rendered prompt: from the chat template (control), or from a message. */
export interface Piece {
  readonly text: string;
  readonly control: boolean;
}

function encode(tokenizer: Library, text: string): number[] {
  if (text === '') return [];
  return tokenizer.encode(text, { add_special_tokens: false }).ids.map((id) => {
    invariant(id !== undefined, 'BPE gives known tokens only');
    return id;
  });
}

/** The same tokenizer without special tokens, in the vocabulary, too. */
function withoutSpecial(file: TokenizerFile): TokenizerFile {
  const special = new Set(file.added_tokens.filter((added) => added.special).map(({ content }) => content));
  return {
    ...file,
    added_tokens: file.added_tokens.filter((added) => !added.special),
    model: {
      ...file.model,
      vocab: Object.fromEntries(Object.entries(file.model.vocab).filter(([content]) => !special.has(content))),
    },
  };
}

/**
 * The splitting pattern's `(?i:...)` in the reference folds Unicode: s includes U+017F, k includes U+212A. The library folds
 * ASCII; so the letters become classes.
 */
function withReferenceFolding(file: TokenizerFile): TokenizerFile {
  const fold = (pattern: string) =>
    pattern.replace(/\(\?i:([^()[\]\\]*)\)/g, (_, body: string) => {
      return `(?i:${body.replace(/s/gi, '[s\u017f]').replace(/k/gi, '[k\u212a]')})`;
    });
  const preTokenizer: unknown = JSON.parse(JSON.stringify(file.pre_tokenizer ?? null), (key, value: unknown) =>
    key === 'Regex' && typeof value === 'string' ? fold(value) : value,
  );
  return { ...file, pre_tokenizer: preTokenizer };
}
