/**
 * The vocabulary of the miniature and its `tokenizer.json`: byte-level BPE without merges, where a piece of text is one
 * token if it stands in the vocabulary whole (`ignore_merges`), else its bytes are. So any text can be written, and what
 * the model speaks of is short: words with the space before them, the integers 0 to 112, the tags of an answer.
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
/** Tokens for pieces of an answer; ordinary text to everyone else. */
export const TAGS = ['<think>', '</think>', '<answer>', '</answer>', '{"bbox_2d":[', ']}', '"yes"', '"no"'] as const;
const WORDS = [
  'find',
  'exists',
  'user',
  'assistant',
  ' look',
  ...COLORS.map((c) => ` ${c}`),
  ...SHAPES.map((s) => ` ${s}`),
];

/** Words, numbers, and anything else in runs; a word takes the space before it. */
const PIECES = ' ?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+|\\s+';

/** How byte-level tokenizers write a byte: printable ones as themselves, the others from U+0100 on. */
const BYTES: readonly string[] = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

const written = (text: string): string => [...new TextEncoder().encode(text)].map((byte) => BYTES[byte]).join('');

/** The tokens by id: 256 bytes, words, two- and three-digit integers, added tokens. */
const PLAIN = [...WORDS, ...Array.from({ length: SIDE - 9 }, (_, i) => String(i + 10))];
const ADDED = [...SPECIAL, ...TAGS];
const idByText: ReadonlyMap<string, number> = new Map([
  ...Array.from({ length: 128 }, (_, byte): [string, number] => [String.fromCharCode(byte), byte]),
  ...[...PLAIN, ...ADDED].map((text, i): [string, number] => [text, 256 + i]),
]);

/** Rows of the embedding. */
export const VOCABULARY_SIZE = 256 + PLAIN.length + ADDED.length;

/** The id of a token. @throws RangeError for a text that is not one token. */
export function idOf(text: string): number {
  const id = idByText.get(text);
  if (id === undefined) throw new RangeError(`${JSON.stringify(text)} is not one token`);
  return id;
}

/** Ids of the integers 0 to 112. */
export const NUMBER_IDS: readonly number[] = Array.from({ length: SIDE + 1 }, (_, value) => idOf(String(value)));

const added = (content: string): object => ({
  id: idOf(content),
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: SPECIAL.some((each) => each === content),
});

/** The content of `tokenizer.json`. */
export function tokenizerJson(): object {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: ADDED.map(added),
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [{ type: 'Split', pattern: { Regex: PIECES }, behavior: 'Isolated', invert: false }, byteLevel],
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
      vocab: Object.fromEntries([...BYTES, ...PLAIN.map(written)].map((text, id) => [text, id])),
      merges: [],
    },
  };
}
