/**
 * The vocabulary of a miniature and its `tokenizer.json`: byte-level BPE without merges, where a piece of text is one
 * token if it stands in the vocabulary whole (`ignore_merges`), else its bytes are. So any text can be written, and what
 * the model speaks of is short: words with the space before them, the coordinates of a picture, the tags of an answer.
 */
import { COLORS, SHAPES, SIDE } from './scenes.ts';

/** Tokens that text cannot contain; ids follow the order. */
export const SPECIAL = [
  '<|endoftext|>',
  '<|im_start|>',
  '<|im_end|>',
  '<|vision_start|>',
  '<|vision_end|>',
  '<|image_pad|>',
  '<|video_pad|>',
] as const;

/** How byte-level tokenizers write a byte: printable ones as themselves, the others from U+0100 on. */
const BYTES: readonly string[] = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

const written = (text: string): string => [...new TextEncoder().encode(text)].map((byte) => BYTES[byte]).join('');

export interface VocabularyOptions {
  /** Words as they stand in a text, with the space before them where they have one. */
  readonly words: readonly string[];
  /** Tokens for pieces of an answer; ordinary text to everyone else. */
  readonly tags: readonly string[];
  /** The integer that stands for a pixel in an answer, by pixel, 0 to the side of the picture. */
  readonly numbers: readonly number[];
}

/** The tokens by id: 256 bytes, words, integers of two digits and more, added tokens. */
export class Vocabulary {
  /** Rows of the embedding. */
  readonly size: number;
  /** The id of its number, by pixel. */
  readonly numberIds: readonly number[];
  readonly #plain: readonly string[];
  readonly #added: readonly string[];
  readonly #ids: ReadonlyMap<string, number>;
  readonly #digits: number;

  constructor({ words, tags, numbers }: VocabularyOptions) {
    const texts = numbers.map(String);
    this.#plain = [...words, ...texts.filter(({ length }) => length > 1)];
    this.#added = [...SPECIAL, ...tags];
    this.#digits = Math.max(3, ...texts.map(({ length }) => length));
    this.#ids = new Map([
      ...Array.from({ length: 128 }, (_, byte): [string, number] => [String.fromCharCode(byte), byte]),
      ...[...this.#plain, ...this.#added].map((text, i): [string, number] => [text, 256 + i]),
    ]);
    this.size = 256 + this.#plain.length + this.#added.length;
    this.numberIds = texts.map((text) => this.idOf(text));
  }

  /** The id of a token. @throws RangeError for a text that is not one token. */
  idOf(text: string): number {
    const id = this.#ids.get(text);
    if (id === undefined) throw new RangeError(`${JSON.stringify(text)} is not one token`);
    return id;
  }

  /** The content of `tokenizer.json`. */
  tokenizerJson(): object {
    const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
    // Words, numbers, and anything else in runs; a word takes the space before it.
    const pieces = ` ?\\p{L}+|\\p{N}{1,${this.#digits}}| ?[^\\s\\p{L}\\p{N}]+|\\s+`;
    return {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: this.#added.map((content) => this.#addedToken(content)),
      normalizer: { type: 'NFC' },
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [{ type: 'Split', pattern: { Regex: pieces }, behavior: 'Isolated', invert: false }, byteLevel],
      },
      post_processor: byteLevel,
      decoder: byteLevel,
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: '',
        end_of_word_suffix: '',
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: true,
        vocab: Object.fromEntries([...BYTES, ...this.#plain.map(written)].map((text, id) => [text, id])),
        merges: [],
      },
    };
  }

  #addedToken(content: string): object {
    return {
      id: this.idOf(content),
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: SPECIAL.some((each) => each === content),
    };
  }
}

/** What the demo speaks; its numbers are pixels. */
export const VOCABULARY = new Vocabulary({
  words: [
    'find',
    'exists',
    'user',
    'assistant',
    ' look',
    ...COLORS.map((color) => ` ${color}`),
    ...SHAPES.map((shape) => ` ${shape}`),
  ],
  tags: ['<think>', '</think>', '<answer>', '</answer>', '{"bbox_2d":[', ']}', '"yes"', '"no"'],
  numbers: Array.from({ length: SIDE + 1 }, (_, pixel) => pixel),
});

/** The id of a token of the demo. @throws RangeError for a text that is not one token. */
export const idOf = (text: string): number => VOCABULARY.idOf(text);

/** Ids of the integers 0 to 112. */
export const NUMBER_IDS = VOCABULARY.numberIds;
