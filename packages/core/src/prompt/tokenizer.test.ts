import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { UserError } from '../errors.ts';
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

const endless = '(a+)+$';
const split = { type: 'Split', pattern: { Regex: endless }, behavior: 'Isolated', invert: false };
const replace = { type: 'Replace', pattern: { Regex: '(b*)*x' }, content: '' };
const plain = { normalizer: null, pre_tokenizer: null, decoder: { type: 'Fuse' } };

const withSteps = (steps: object): Tokenizer =>
  new Tokenizer(
    {
      ...{ added_tokens: [{ id: 3, content: '<end>', special: true }], post_processor: null, ...plain, ...steps },
      model: { type: 'BPE', merges: [], vocab: { a: 0, b: 1, '!': 2 } },
    },
    { eosToken: '<end>', where: 'some/tokenizer.json' },
  );

test.each<[string, object, string]>([
  ['a pre-tokenizer', { pre_tokenizer: split }, endless],
  ['a sequence of them', { pre_tokenizer: { type: 'Sequence', pretokenizers: [split] } }, endless],
  ['a pre-tokenizer that replaces', { pre_tokenizer: replace }, '(b*)*x'],
  ['a normaliser', { normalizer: { type: 'Sequence', normalizers: [replace] } }, '(b*)*x'],
  ['a decoder', { decoder: { type: 'Sequence', decoders: [{ type: 'Fuse' }, replace] } }, '(b*)*x'],
])(
  'an expression without end in %s: all that goes through it is refused, and soon after the first time',
  (_, steps, named) => {
    const hostile = withSteps(steps);
    const text = `${'a'.repeat(40)}!${'b'.repeat(40)}!`;
    const ids = Array.from(text, (character) => ['a', 'b', '!'].indexOf(character));
    const run = 'decoder' in steps ? () => hostile.decode(ids) : () => hostile.encodeText(text);
    expect(run).toThrow(UserError);
    expect(run).toThrow(`some/tokenizer.json: the regular expression ${JSON.stringify(named)} takes more than`);
    // Not run again: these would take longer than a test may.
    for (let i = 0; i < 1000; i++) expect(run).toThrow(UserError);
    expect(() => hostile.encodePieces([{ text, control: true }])).toThrow(UserError);
  },
);

test('expressions that nobody knows do what they say', () => {
  const own = withSteps({ pre_tokenizer: { ...split, pattern: { Regex: 'a|b' } } });
  expect(own.encodePieces([{ text: 'ab!<end>', control: true }])).toEqual([0, 1, 2, 3]);
  expect(own.decode([0, 1, 2, 3], { special: true })).toBe('ab!<end>');
});

test('a text that replacements double again and again is refused', () => {
  const doubled = { type: 'Replace', pattern: { String: 'a' }, content: 'a'.repeat(1000) };
  const hostile = withSteps({ normalizer: { type: 'Sequence', normalizers: Array(4).fill(doubled) } });
  expect(() => hostile.encodeText('a')).toThrow('some/tokenizer.json: its replacements make too long a text');
});

test('a text may be of any length', () => {
  const text = 'e'.repeat(200_000);
  expect(words.encodePieces([{ text, control: false }, { text: '<end>', control: true }])).toHaveLength(200_001); // prettier-ignore
});

test('ids below 0 are refused', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-ids-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  cpSync(model, folder, { recursive: true });
  const file = path.join(folder, 'tokenizer.json');
  const read = JSON.parse(readFileSync(file, 'utf8')) as { model: { vocab: Record<string, number> } };
  read.model.vocab['a'] = -1;
  writeFileSync(file, JSON.stringify(read));
  expect(() => Tokenizer.load(folder)).toThrow(/tokenizer.json: model.vocab.a/);
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

test.each([
  ['Qwen2TokenizerFast', 'as before'],
  ['Qwen2Tokenizer', 'as before'],
  [undefined, 'as before'],
  ['PreTrainedTokenizerFast', 'lower case'],
])('a tokenizer that is declared as %s normalises %s', (tokenizer_class, how) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-tokenizer-'));
  const read = (name: string) => JSON.parse(readFileSync(path.join(model, name), 'utf8')) as object;
  const write = (name: string, value: object) => writeFileSync(path.join(directory, name), JSON.stringify(value));
  cpSync(path.join(model, 'config.json'), path.join(directory, 'config.json'));
  write('tokenizer.json', { ...read('tokenizer.json'), normalizer: { type: 'Lowercase' } });
  write('tokenizer_config.json', { ...read('tokenizer_config.json'), tokenizer_class });
  const expected = tokenizer.encodeText(how === 'lower case' ? 'find a' : 'Find A');
  expect(Tokenizer.load(directory).encodeText('Find A')).toEqual(expected);
});

test('vocab.json and merges.txt make the same tokenizer as tokenizer.json', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-vocabulary-'));
  const read = (name: string): unknown => JSON.parse(readFileSync(path.join(model, name), 'utf8'));
  const file = read('tokenizer.json') as {
    added_tokens: { id: number }[];
    model: { vocab: object; merges: [string, string][] };
  };
  const merges = file.model.merges.map((pair) => `${pair.join(' ')}\n`);
  writeFileSync(path.join(directory, 'vocab.json'), JSON.stringify(file.model.vocab));
  writeFileSync(path.join(directory, 'merges.txt'), ['#version: 0.2\n', ...merges].join(''));
  const added_tokens_decoder = Object.fromEntries(file.added_tokens.map((each) => [each.id, each]));
  const config = { ...(read('tokenizer_config.json') as object), added_tokens_decoder };
  writeFileSync(path.join(directory, 'tokenizer_config.json'), JSON.stringify(config));
  const vocabulary = Tokenizer.load(directory);
  const text = "find the <think>red</think> circle, it's 42 漢<|im_end|>";
  expect(vocabulary.encodeText(text)).toEqual(tokenizer.encodeText(text));
  expect(vocabulary.specialIds).toEqual(tokenizer.specialIds);
  expect(vocabulary.eosId).toBe(tokenizer.eosId);
});

/** The tiny model's files, where its special tokens stand elsewhere. */
test.each<[string, (file: Files) => void]>([
  ['in both files', ({ config, decoder }) => (config.added_tokens_decoder = decoder)],
  [
    'in tokenizer_config.json alone',
    ({ tokenizer: file, config, decoder }) => {
      [file.added_tokens, config.added_tokens_decoder] = [[], decoder];
    },
  ],
  [
    'the last ones in tokenizer_config.json alone',
    ({ tokenizer: file, config, decoder }) => {
      [file.added_tokens, config.added_tokens_decoder] = [file.added_tokens.slice(0, 9), decoder];
    },
  ],
  [
    'as special in a list',
    ({ tokenizer: file, config }) => {
      config.additional_special_tokens = file.added_tokens.flatMap(({ content, special }) =>
        special ? [content] : [],
      );
      for (const each of file.added_tokens) each.special = false;
    },
  ],
  [
    'as special by roles',
    ({ tokenizer: file, config }) => {
      const special = file.added_tokens.filter((each) => each.special);
      config.extra_special_tokens = Object.fromEntries(special.map(({ content }, i) => [`token_${i}`, content]));
      for (const each of file.added_tokens) each.special = false;
    },
  ],
  [
    'in added_tokens.json and special_tokens_map.json',
    ({ tokenizer: file, others }) => {
      const { added_tokens: added } = file;
      others['added_tokens.json'] = Object.fromEntries(added.map(({ content, id }) => [content, id]));
      const special = added.flatMap((each) => (each.special ? [each.content] : []));
      others['special_tokens_map.json'] = { additional_special_tokens: special, eos_token: { content: '<|im_end|>' } };
      file.added_tokens = [];
    },
  ],
])('special tokens %s are the same', (_, move) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-special-'));
  const read = (name: string): unknown => JSON.parse(readFileSync(path.join(model, name), 'utf8'));
  const file = read('tokenizer.json') as Files['tokenizer'];
  const decoder = Object.fromEntries(file.added_tokens.map(({ id, ...each }) => [id, { ...each }]));
  const files: Files = {
    tokenizer: file,
    config: read('tokenizer_config.json') as Files['config'],
    decoder,
    others: {},
  };
  move(files);
  const written = { 'tokenizer.json': file, 'tokenizer_config.json': files.config, ...files.others };
  for (const [name, value] of Object.entries(written)) writeFileSync(path.join(directory, name), JSON.stringify(value));
  const moved = Tokenizer.load(directory);
  const text = 'find the <think>red</think> circle<|im_end|>';
  expect(moved.encodeText(text)).toEqual(tokenizer.encodeText(text));
  expect(moved.encodePieces([{ text, control: true }])).toEqual(tokenizer.encodePieces([{ text, control: true }]));
  expect([...moved.specialIds].sort()).toEqual([...tokenizer.specialIds].sort());
  expect([moved.eosId, moved.padId]).toEqual([tokenizer.eosId, tokenizer.padId]);
});

interface Files {
  readonly tokenizer: { added_tokens: { id: number; content: string; special: boolean }[] };
  readonly config: Record<string, unknown>;
  /** The added tokens as tokenizer_config.json lists them. */
  readonly decoder: Readonly<Record<string, object>>;
  readonly others: Record<string, unknown>;
}
