/**
 * The files of a tokenizer, in the form of `tokenizer.json`; Python's tokenizers of older versions left `vocab.json` and
 * `merges.txt` in its place.
 *
 * As in the reference, a tokenizer that is declared to be Qwen2's (or nothing) has its normaliser and its splitting,
 * whatever `tokenizer.json` says of them; any other is what the file says.
 */
import { z } from 'zod';
import { UserError } from '../errors.ts';
import { addedToken, addedTokens, ids, roles, withOlderFiles } from './added-tokens.ts';
import { readJson, readOptional, requireDirectory } from './files.ts';

const tokenizerFile = z.looseObject({
  added_tokens: z.array(addedToken).default([]),
  pre_tokenizer: z.unknown(),
  model: z.looseObject({ type: z.literal('BPE'), vocab: ids }),
});
export type TokenizerFile = z.output<typeof tokenizerFile>;

const token = z.union([z.string(), z.looseObject({ content: z.string() }).transform(({ content }) => content)]);
const tokenizerConfig = roles.extend({
  eos_token: token.nullish(),
  pad_token: token.nullish(),
  tokenizer_class: z.string().nullish(),
  add_prefix_space: z.boolean().nullish(),
});
type TokenizerConfig = z.output<typeof tokenizerConfig>;

/**
 * @param right `file` where tokenizer.json is right whatever class is declared
 * @throws UserError where files are missing or malformed
 */
export function readTokenizerFiles(
  directory: string,
  right?: 'file',
): { file: TokenizerFile; config: TokenizerConfig } {
  requireDirectory(directory);
  const own = readJson(directory, 'tokenizer_config.json', tokenizerConfig) ?? {};
  const config = withOlderFiles(directory, own, tokenizerConfig);
  const read = readJson(directory, 'tokenizer.json', tokenizerFile) ?? fromVocabulary(directory, config);
  if (read === undefined) {
    throw new UserError('no tokenizer.json', {
      where: directory,
      remedy: 'The directory must hold a whole checkpoint in the Hugging Face layout.',
    });
  }
  const file = { ...read, added_tokens: addedTokens(read.added_tokens, read.model.vocab, config) };
  if (right === 'file') return { file, config };
  const declared = config.tokenizer_class?.replace(/Fast$/, '') ?? 'Qwen2Tokenizer';
  return { file: declared === 'Qwen2Tokenizer' ? asQwen(file, config.add_prefix_space ?? false) : file, config };
}

function fromVocabulary(directory: string, config: TokenizerConfig): TokenizerFile | undefined {
  const vocab = readJson(directory, 'vocab.json', ids);
  const merges = readOptional(directory, 'merges.txt');
  if (vocab === undefined || merges === undefined) return undefined;
  const pairs = merges.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#version'));
  return asQwen(
    {
      added_tokens: [],
      pre_tokenizer: null,
      post_processor: null,
      model: { type: 'BPE', vocab, merges: pairs },
    },
    config.add_prefix_space ?? false,
  );
}

/** How tokenizers of the line of GPT-4's split text into words. */
const wordsWith = ({ digits = '\\p{N}', marks = '' }): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?${marks ? `[\\p{L}${marks}]` : '\\p{L}'}+|${digits}|` +
  ` ?[^\\s\\p{L}${marks}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const plainWords = (digits: string): string => ` ?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+|\\s+`;

/** Qwen2's, and that of Qwen2.5 and Qwen3. */
const words = wordsWith({});

/** Expressions that end soon on any text, and so need no limit: those of Qwen's generations, Llama 3's, and those of our own bases. */
const KNOWN: ReadonlySet<string> = new Set([
  words,
  wordsWith({ marks: '\\p{M}' }),
  wordsWith({ digits: '\\p{N}{1,3}' }),
  plainWords('\\p{N}{1,3}'),
  plainWords('\\p{N}{1,4}'),
]);

/** Expressions of a file's steps of which nobody knows how long they take. */
export function unknownPatterns({ normalizer, pre_tokenizer, decoder }: TokenizerFile): string[] {
  const found = new Set<string>();
  JSON.stringify([normalizer, pre_tokenizer, decoder], (key, value: unknown) => {
    if (key === 'Regex' && !(typeof value === 'string' && KNOWN.has(value))) found.add(String(value));
    return value;
  });
  return [...found];
}

function asQwen(file: TokenizerFile, addPrefixSpace: boolean): TokenizerFile {
  const split = { type: 'Split', pattern: { Regex: words }, behavior: 'Isolated', invert: false };
  const bytes = { type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: false };
  return {
    ...file,
    normalizer: { type: 'NFC' },
    pre_tokenizer: { type: 'Sequence', pretokenizers: [split, bytes] },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  };
}
