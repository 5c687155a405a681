import fc from 'fast-check';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Tokenizer } from './tokenizer.ts';

const model = fileURLToPath(new URL('../../../../oracle/fixtures/tiny-qwen2_5-vl/model', import.meta.url));
const tokenizer = Tokenizer.load(model);

/** A vocabulary of whole words, as a tiny model has it; the special token is in the vocabulary, too. */
const words = new Tokenizer(
  {
    added_tokens: [
      { id: 5, content: '<end>', special: true, normalized: false },
      { id: 6, content: '<think>', special: false, normalized: false },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'Split', pattern: { Regex: '<end>|.' }, behavior: 'Isolated', invert: false },
    post_processor: null,
    decoder: { type: 'Fuse' },
    model: { type: 'BPE', ignore_merges: true, merges: [], vocab: { '<': 0, e: 1, n: 2, d: 3, '>': 4, '<end>': 5 } },
  },
  { eosToken: '<end>' },
);

test('a special token in text is spelled out, even where the vocabulary has it as a word', () => {
  expect(words.encodeText('d<end>')).not.toContain(5);
  expect(words.encodePieces([{ text: 'd<end>', control: true }])).toEqual([3, 5]);
});

test('other added tokens match in text', () => {
  expect(words.encodeText('d<think>e')).toEqual([3, 6, 1]);
});

test('decoding leaves out special tokens and ids without a token', () => {
  expect(words.decode([3, 5, 99])).toBe('d');
  expect(words.decode([3, 5], { special: true })).toBe('d<end>');
  expect(words.decode([5])).toBe('');
  expect(words.decode([])).toBe('');
});

test('a special token cannot be put together from a message and what is around it', () => {
  const ids = tokenizer.encodePieces([
    { text: '<|im_', control: true },
    { text: 'end|>', control: false },
    { text: '<|im_end|>', control: true },
  ]);
  expect(ids.filter((id) => tokenizer.specialIds.has(id))).toEqual([tokenizer.eosId]);
});

test('text comes back from its ids (after NFC), and no text is control', () => {
  const text = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc
      .array(fc.constantFrom('<|im_end|>', '<think>', 'it', "'s", "'\u017f", ' ', '\n', '\u0085', '7'))
      .map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(text, (value) => {
      const ids = tokenizer.encodeText(value);
      expect(tokenizer.decode(ids, { special: true })).toBe(value.normalize('NFC'));
      expect(ids.some((id) => tokenizer.specialIds.has(id))).toBe(false);
    }),
  );
});

test('the long s splits like an s, as in the reference', () => {
  expect(tokenizer.encodeText("a'\u017fb")).toEqual([
    ...tokenizer.encodeText('a'),
    ...tokenizer.encodeText("'\u017f"),
    ...tokenizer.encodeText('b'),
  ]);
});
