/**
 * The JSON of inspect, score and generate, which other programs read: its keys, and its numbers against those that
 * transformers made (oracle/tiny_qwen2_5_vl.py).
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fixtures, temporaryFolder, tinyModel, visurf, visurfJson } from './cli.ts';
import { copyModel } from './training.ts';

interface Part {
  readonly type: string;
  readonly image?: string;
  readonly text?: string;
}

interface Case {
  readonly messages: readonly { role: string; content: string | readonly Part[] }[];
  readonly rendered: string;
  readonly inputIds: number[];
  readonly imageGridThw: number[][];
  readonly positionIds: number[][];
  readonly responses: { tokens: number[]; logProbs: number[] }[];
  readonly greedy: Record<'repetitionPenalty1' | 'repetitionPenalty1.05', { tokens: number[] }>;
}

interface Seen extends Pick<Case, 'rendered' | 'inputIds' | 'imageGridThw' | 'positionIds'> {
  readonly pixelValues: { shape: number[]; mean: number; std: number; min: number; max: number } | null;
}

interface Said {
  readonly text: string;
  readonly tokens: number[];
  readonly logProbs: number[];
  readonly stop: string;
}

interface Scored {
  readonly tokens: number[];
  readonly logProbs: number[];
  readonly total: number;
}

const cases = JSON.parse(readFileSync(join(fixtures, 'tiny-qwen2_5-vl/cases.json'), 'utf8')) as Record<string, Case>;
const image = (name: string) => join(fixtures, 'images', name);

/** A messages file of a case, with absolute image paths. */
function messagesFile({ messages }: Case): string {
  const file = join(temporaryFolder(), 'messages.json');
  const located = JSON.stringify(messages, (key, value: unknown) => (key === 'image' ? image(String(value)) : value));
  writeFileSync(file, located);
  return file;
}

/** The same question as flags: images first, then the text. */
const asFlags = ['--model', tinyModel, '--image', image('wide-340x270.png'), '--prompt', 'find the red circle'];

/** The reference's own patches of a case. */
function patchesOf(name: string): Float32Array {
  const bytes = readFileSync(join(fixtures, 'tiny-qwen2_5-vl/cases.safetensors'));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const [start, end] = header[`${name}.pixel_values`]!.data_offsets;
  return new Float32Array(Uint8Array.from(bytes.subarray(8 + length + start, 8 + length + end)).buffer);
}

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of actual.entries()) expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-4);
}

describe('inspect', () => {
  test.each(Object.entries(cases))('shows what the reference sees: %s', async (name, reference) => {
    const seen = await visurfJson<Seen>('inspect', '--model', tinyModel, '--messages', messagesFile(reference));
    const { rendered, inputIds, imageGridThw, positionIds } = reference;
    const { pixelValues, ...others } = seen;
    expect(others).toEqual({ rendered, inputIds, imageGridThw, positionIds });
    if (imageGridThw.length === 0) return expect(pixelValues).toBeNull();

    const values = patchesOf(name);
    const { shape, mean, std, min, max, ...rest } = pixelValues!;
    expect(rest).toEqual({});
    expect(shape).toEqual([values.length / 1176, 1176]);
    const average = values.reduce((a, b) => a + b, 0) / values.length;
    const variance = values.reduce((sum, each) => sum + (each - average) ** 2, 0) / values.length;
    const range = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    expectClose([mean, std, min, max], [average, Math.sqrt(variance), ...range]);
  });

  test('flags say the same as messages; --system is the system message', async () => {
    const { rendered, inputIds } = cases['one-image']!;
    expect(await visurfJson<Seen>('inspect', ...asFlags)).toMatchObject({ rendered, inputIds });
    const told = await visurfJson<Seen>('inspect', ...asFlags, '--system', 'Please find.');
    expect(told.rendered).toBe(rendered.replace('You are a helpful assistant.', 'Please find.'));
  });

  test('images come in the order of their flags', async () => {
    const images = ['tall-70x98.png', 'flat-90x60.png'].flatMap((name) => ['--image', image(name)]);
    const seen = await visurfJson<Seen>('inspect', '--model', tinyModel, ...images, '--prompt', 'a');
    expect(seen.imageGridThw).toEqual(cases['two-images']!.imageGridThw);
  });
});

describe('score', () => {
  test.each(Object.entries(cases))('gives the log-probabilities of the reference: %s', async (_, reference) => {
    const { tokens, logProbs } = reference.responses[1]!;
    const scored = await visurfJson<Scored>(
      ...['score', '--model', tinyModel, '--messages', messagesFile(reference), '--response-ids', tokens.join(',')],
    );
    expect(Object.keys(scored).sort()).toEqual(['logProbs', 'tokens', 'total']);
    expect(scored.tokens).toEqual(tokens);
    expectClose(scored.logProbs, logProbs);
    expect(scored.total).toBeCloseTo(
      logProbs.reduce((a, b) => a + b),
      3,
    );
  });

  test('appends nothing to a text, and follows it in bfloat16', async () => {
    const { tokens, logProbs } = cases['one-image']!.responses[0]!;
    const args = ['score', ...asFlags, '--response', '<answer>[]</answer>'];
    const scored = await visurfJson<Scored>(...args);
    // Without the stop token, with which the reference's response ends.
    expect(scored.tokens).toEqual(tokens.slice(0, -1));
    expectClose(scored.logProbs, logProbs.slice(0, -1));
    const rounded = await visurfJson<Scored>(...args, '--precision', 'bfloat16');
    for (const [i, value] of rounded.logProbs.entries()) expect(Math.abs(value - logProbs[i]!)).toBeLessThan(1);
    expect(rounded.logProbs).not.toEqual(scored.logProbs);
  });

  test('takes special tokens in a text for text', async () => {
    const scored = await visurfJson<Scored>(
      'score',
      '--model',
      tinyModel,
      '--prompt',
      'red',
      '--response',
      '<|im_end|>',
    );
    expect(scored.tokens.length).toBeGreaterThan(1);
    expect(Math.max(...scored.tokens)).toBeLessThan(320);
  });
});

describe('generate', () => {
  const twelve = ['--max-new-tokens', '12'];

  // The other two cases begin with an image token, which the reference may say and we never do.
  test.each([
    ['one-image', '1.05'],
    ['two-images', '1'],
    ['text-only', '1'],
    ['text-only', '1.05'],
    ['small-image', '1'],
  ])('is greedy unless said, whatever generation_config.json says: %s, penalty %s', async (name, penalty) => {
    const reference = cases[name]!;
    const said = await visurfJson<Said>(
      ...['generate', '--model', tinyModel, '--messages', messagesFile(reference), ...twelve],
      ...(penalty === '1' ? [] : ['--repetition-penalty', penalty]),
    );
    expect(Object.keys(said).sort()).toEqual(['logProbs', 'stop', 'text', 'tokens']);
    expect(said.tokens).toEqual(
      reference.greedy[penalty === '1' ? 'repetitionPenalty1' : 'repetitionPenalty1.05'].tokens,
    );
    expect(said.logProbs).toHaveLength(12);
    expect(said.stop).toBe('length');
    expect(said.text.length).toBeGreaterThan(0);
  });

  const question = ['--model', tinyModel, '--image', image('small-40x40.png'), '--prompt', 'red'];
  const sample = async (...flags: string[]) => visurfJson<Said>('generate', ...question, ...twelve, ...flags);

  test('never says an image token, and keeps what score gives', async () => {
    const said = await sample('--temperature', '1', '--seed', '7');
    expect(said.tokens.filter((token) => token >= 329 && token <= 333)).toEqual([]);
    const scored = await visurfJson<Scored>('score', ...question, '--response-ids', said.tokens.join(','));
    expectClose(said.logProbs, scored.logProbs);
  });

  test('every sampling option is honoured', async () => {
    const greedy = await sample();
    const seed7 = await sample('--temperature', '1', '--seed', '7');
    expect(await sample('--temperature', '1', '--seed', '7')).toEqual(seed7);
    expect((await sample('--temperature', '1', '--seed', '8')).tokens).not.toEqual(seed7.tokens);
    expect((await sample('--temperature', '1', '--top-k', '1')).tokens).toEqual(greedy.tokens);
    expect((await sample('--temperature', '1', '--top-p', '0.000001')).tokens).toEqual(greedy.tokens);
    expect((await sample('--temperature', '0.0001')).tokens).toEqual(greedy.tokens);
  });

  test('the stop token is said and counted, and is no part of the text', async () => {
    const { tokens } = await sample();
    const model = copyModel(temporaryFolder());
    const file = join(model, 'generation_config.json');
    const settings = JSON.parse(readFileSync(file, 'utf8')) as object;
    writeFileSync(file, JSON.stringify({ ...settings, eos_token_id: [322, tokens[2]] }));
    const said = await visurfJson<Said>('generate', '--model', model, ...question.slice(2), ...twelve);
    expect([said.tokens, said.logProbs.length, said.stop]).toEqual([tokens.slice(0, 3), 3, 'eos']);
    const shorter = await sample('--max-new-tokens', '2');
    expect([shorter.text, shorter.stop]).toEqual([said.text, 'length']);
  });

  test('prints the text as it grows, and why it stopped', async () => {
    const { code, stdout, stderr } = await visurf('generate', ...question, '--max-new-tokens', '3');
    expect([code, stdout.trim().length > 0]).toEqual([0, true]);
    expect(stderr).toContain('cut off after 3 tokens');
  });
});
