import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { PromptEncoder } from '@visurf/core';
import { afterAll, expect, test } from 'vitest';

import { writeCheckpointFiles } from './checkpoint.ts';
import { idOf, NUMBER_IDS, VOCABULARY } from './vocabulary.ts';

const directory = mkdtempSync(join(tmpdir(), 'mini-vocabulary-'));
writeCheckpointFiles(directory);
const encoder = PromptEncoder.load(directory);
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const ids = (...tokens: string[]): number[] => tokens.map(idOf);

test('answers are written in the tokens that the lessons use', () => {
  expect(encoder.encodeText('<think> red circle:45,7</think>')).toEqual(
    ids('<think>', ' red', ' circle', ':', '45', ',', '7', '</think>'),
  );
  expect(encoder.encodeResponse('<answer>[{"bbox_2d":[10,0,112,99]}]</answer>')).toEqual(
    ids('<answer>', '[', '{"bbox_2d":[', '10', ',', '0', ',', '112', ',', '99', ']}', ']', '</answer>', '<|im_end|>'),
  );
  expect(encoder.encodeResponse('<answer>[]</answer>')).toEqual(ids('<answer>', '[', ']', '</answer>', '<|im_end|>'));
  expect(encoder.encodeText('<answer>["yes"]</answer>')).toEqual(ids('<answer>', '[', '"yes"', ']', '</answer>'));
});

test('any other text is written in bytes and read back', () => {
  for (const text of ['A naïve 1234 — 日本', 'redcircle 113', '\n\t x', '<|im_end|>', 'find red circle'])
    expect(encoder.decode(encoder.encodeText(text), { special: true })).toBe(text);
  expect(encoder.encodeText('113')).toEqual(ids('1', '1', '3'));
  expect(encoder.encodeText('<|im_end|>')).not.toContain(idOf('<|im_end|>'));
});

test('numbers are one token each, and no id is outside of the embedding', () => {
  expect(NUMBER_IDS).toHaveLength(113);
  NUMBER_IDS.forEach((id, value) => {
    expect(encoder.encodeText(String(value))).toEqual([id]);
  });
  expect(idOf('"no"')).toBe(VOCABULARY.size - 1);
  expect(() => idOf('purple')).toThrow('not one token');
});

test('a question becomes the prompt of the lessons', async () => {
  const content = [{ type: 'text', text: 'find red circle' } as const];
  const { inputIds } = await encoder.encode({ messages: [{ role: 'user', content }] });
  // Text alone: the image would stand between the first two words.
  expect(encoder.decode(inputIds, { special: true })).toBe(
    '<|im_start|>userfind red circle<|im_end|><|im_start|>assistant',
  );
  expect(inputIds.slice(-3)).toEqual(ids('<|im_end|>', '<|im_start|>', 'assistant'));
});
