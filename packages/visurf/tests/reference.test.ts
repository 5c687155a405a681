/** inspect, score and generate against numbers that transformers made (oracle/tiny_qwen2_5_vl.py). */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fixtures, temporaryFolder, tinyModel, visurf, visurfJson } from './cli.ts';

interface Case {
  messages: { role: string; content: string | { type: string; image?: string }[] }[];
  rendered: string;
  inputIds: number[];
  imageGridThw: number[][];
  positionIds: number[][];
  responses: { tokens: number[]; logProbs: number[] }[];
  greedy: Record<'repetitionPenalty1' | 'repetitionPenalty1.05', { tokens: number[] }>;
}

const cases = JSON.parse(readFileSync(join(fixtures, 'tiny-qwen2_5-vl/cases.json'), 'utf8')) as Record<string, Case>;
const twoImages = cases['two-images']!;
const image = join(fixtures, 'images/small-40x40.png');

/** A messages file of a case, with absolute image paths. */
function messagesFile({ messages }: Case): string {
  const file = join(temporaryFolder(), 'messages.json');
  const located = JSON.stringify(messages, (key, value: unknown) =>
    key === 'image' ? join(fixtures, 'images', String(value)) : value,
  );
  writeFileSync(file, located);
  return file;
}

test.each(Object.entries(cases))('inspect shows what the reference sees: %s', async (_, reference) => {
  const seen = await visurfJson<Case>('inspect', '--model', tinyModel, '--messages', messagesFile(reference));
  const { rendered, inputIds, imageGridThw, positionIds } = reference;
  expect(seen).toMatchObject({ rendered, inputIds, imageGridThw, positionIds });
});

test('inspect sums the pixels up', async () => {
  const { pixelValues } = await visurfJson<{
    pixelValues: { shape: number[]; mean: number; std: number; min: number; max: number };
  }>('inspect', '--model', tinyModel, '--image', image, '--prompt', 'red');
  expect(pixelValues.shape).toEqual([16, 1176]);
  expect(pixelValues.min).toBeLessThan(pixelValues.mean);
  expect(pixelValues.max).toBeGreaterThan(pixelValues.mean);
});

test.each(Object.entries(cases))('score gives the log-probabilities of the reference: %s', async (_, reference) => {
  const { tokens, logProbs } = reference.responses[1]!;
  const scored = await visurfJson<{ tokens: number[]; logProbs: number[]; total: number }>(
    ...['score', '--model', tinyModel, '--messages', messagesFile(reference), '--response-ids', tokens.join(',')],
  );
  expect(scored.tokens).toEqual(tokens);
  for (const [i, value] of scored.logProbs.entries()) expect(value).toBeCloseTo(logProbs[i]!, 4);
  expect(scored.total).toBeCloseTo(
    scored.logProbs.reduce((a, b) => a + b),
    9,
  );
});

test('score takes special tokens in a text for text, and appends nothing', async () => {
  const scored = await visurfJson<{ tokens: number[] }>(
    ...['score', '--model', tinyModel, '--prompt', 'red', '--response', '<|im_end|>'],
  );
  expect(scored.tokens.length).toBeGreaterThan(1);
  expect(Math.max(...scored.tokens)).toBeLessThan(320);
});

test.each([
  ['1', twoImages.greedy.repetitionPenalty1.tokens],
  ['1.05', twoImages.greedy['repetitionPenalty1.05'].tokens],
])('generate with repetition penalty %s says what the reference says', async (penalty, tokens) => {
  const said = await visurfJson<{ tokens: number[]; stop: string; text: string; logProbs: number[] }>(
    ...['generate', '--model', tinyModel, '--messages', messagesFile(twoImages)],
    ...['--max-new-tokens', '12', '--repetition-penalty', penalty],
  );
  expect(said.tokens).toEqual(tokens);
  expect(said.stop).toBe('length');
});

test('what generate keeps from sampling is what score gives', async () => {
  const prompt = ['--model', tinyModel, '--image', image, '--prompt', 'red'];
  const said = await visurfJson<{ tokens: number[]; logProbs: number[] }>(
    ...['generate', ...prompt, '--max-new-tokens', '16', '--temperature', '1', '--seed', '7'],
  );
  const scored = await visurfJson<{ logProbs: number[] }>('score', ...prompt, '--response-ids', said.tokens.join(','));
  for (const [i, value] of said.logProbs.entries()) expect(value).toBeCloseTo(scored.logProbs[i]!, 4);
});

test('generate prints the text as it grows, and why it stopped', async () => {
  const { code, stdout, stderr } = await visurf(
    ...['generate', '--model', tinyModel, '--prompt', 'red', '--max-new-tokens', '3'],
  );
  expect([code, stdout.trim().length > 0]).toEqual([0, true]);
  expect(stderr).toContain('cut off after 3 tokens');
});
