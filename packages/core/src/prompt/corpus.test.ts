/** Strings and conversations against transformers' Qwen2.5 tokenizer (oracle/corpus.py). */
import { expect, test } from 'vitest';
import { changedStrings, wrongConversations, wrongStrings } from '../testing/parity-inputs.ts';

test('2,000 strings of all scripts have the ids of the reference, and come back', () => {
  expect(wrongStrings()).toEqual([]);
  expect(changedStrings()).toEqual([]);
});

test('80 conversations are rendered and encoded as by the reference', () => {
  expect(wrongConversations()).toEqual([]);
});
