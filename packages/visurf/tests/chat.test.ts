/** chat: the conversation that the model sees, what ends an answer and what ends the chat. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { expectRefusal, finished, fixtures, root, temporaryFolder, tinyModel } from './cli.ts';
import { visurf, visurfJson, visurfReading } from './cli.ts';

const image = join(fixtures, 'images/small-40x40.png');
const other = join(fixtures, 'images/wide-340x270.png');
const tokens = ['--max-new-tokens', '24'];

const chat = async (lines: readonly string[], ...args: readonly string[]) =>
  await visurfReading(lines.map((line) => `${line}\n`).join(''), 'chat', '--model', tinyModel, ...tokens, ...args);

type Content = string | readonly { type: 'text' | 'image'; text?: string; image?: string }[];

/** What `generate` answers to a whole conversation. */
async function answerTo(...contents: readonly Content[]): Promise<string> {
  const messages = contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));
  const file = join(temporaryFolder(), 'messages.json');
  writeFileSync(file, JSON.stringify(messages));
  const said = await visurfJson<{ text: string }>('generate', '--model', tinyModel, '--messages', file, ...tokens);
  return said.text;
}

const seen = (text: string, ...images: string[]): Content => [
  ...images.map((each) => ({ type: 'image', image: each }) as const),
  { type: 'text', text },
];

test('every message is answered in view of all before it, images included', async () => {
  const { code, stdout } = await chat(['red', `/image ${image}`, 'blue', 'green'], '--image', other);
  const first = await answerTo(seen('red', other));
  const second = await answerTo(seen('red', other), first, seen('blue', image));
  const third = await answerTo(seen('red', other), first, seen('blue', image), second, 'green');
  expect(stdout).toBe(`${first}\n${second}\n${third}\n`);
  expect(code).toBe(0);
  // Bytes that are no character, and characters of several tokens, which must have come whole.
  expect(first + second + third).toMatch(/[^\0-\x7f\ufffd]/);
});

test('generate shows the same text as it gives', async () => {
  const question = ['generate', '--model', tinyModel, '--image', other, '--prompt', 'red', ...tokens];
  const { stdout } = await visurf(...question);
  expect(stdout).toBe(`${(await visurfJson<{ text: string }>(...question)).text}\n`);
});

test('/reset forgets messages and images, the system message stays', async () => {
  const lines = ['red', `/image ${image}`, '/reset', 'red', '', '/exit', 'not read'];
  const { code, stdout, stderr } = await chat(lines, '--system', 'Be brief.', '--temperature', '0');
  const system = ['--system', 'Be brief.', '--prompt', 'red', ...tokens];
  const { text } = await visurfJson<{ text: string }>('generate', '--model', tinyModel, ...system);
  expect([code, stdout]).toEqual([0, `${text}\n${text}\n`]);
  expect(stderr).toContain('the conversation is forgotten');
  expect(stderr).toContain('cut off after 24 tokens');
});

test('messages have noise of their own, which the seed repeats', async () => {
  const lines = ['red', '/reset', 'red'];
  const sampling = ['--temperature', '1', '--seed', '7'];
  const { stdout } = await chat(lines, ...sampling);
  expect((await chat(lines, ...sampling)).stdout).toBe(stdout);
  const answers = await Promise.all(
    ['7', '8'].map((seed) =>
      visurfJson<{ text: string }>(
        ...['generate', '--model', tinyModel, '--prompt', 'red', ...tokens, '--temperature', '1', '--seed', seed],
      ),
    ),
  );
  expect(stdout).toBe(answers.map(({ text }) => `${text}\n`).join(''));
});

test('a mistake is explained, and the chat goes on', async () => {
  const config = join(tinyModel, 'config.json');
  const { code, stdout, stderr } = await chat(['/image none.png', `/image ${config}`, '/image', '/imagine', 'red']);
  expect([code, stdout]).toEqual([0, `${await answerTo('red')}\n`]);
  expect(stderr).toMatch(/^error: .*none\.png: image file not found$/m);
  expect(stderr).toMatch(/^error: .*config\.json: not an image in a supported format\n {2}Convert it to PNG/m);
  expect(stderr).toMatch(/^which file\?$/m);
  expect(stderr).toMatch(/^\/imagine is no command$/m);
  expect(stderr.match(/^\/exit /gm)).toHaveLength(2);
});

test('an image that is not there, at the start', async () => {
  expectRefusal(await chat(['red'], '--image', 'none.png'), 'none.png: image file not found');
});

/** Waits until a stream has said something. */
async function heard(stream: Readable): Promise<string> {
  const [chunk] = (await once(stream, 'data')) as [Buffer];
  return chunk.toString();
}

test('Ctrl-C stops an answer and keeps the conversation; twice it ends the chat', async () => {
  const args = ['chat', '--model', tinyModel, '--max-new-tokens', '6000'];
  const child = spawn(join(root, 'visurf'), args, { cwd: tmpdir() });
  const outcome = finished(child);
  for (const message of ['red\n', 'blue\n']) {
    child.stdin.write(message);
    await heard(child.stdout);
    const said = heard(child.stderr);
    child.kill('SIGINT');
    expect(await said).toBe('(stopped)\n');
    // What is left in the pipe is not taken for the next answer.
    await setTimeout(200);
  }
  child.kill('SIGINT');
  const { code, stderr } = await outcome;
  expect([code, stderr]).toEqual([130, '(stopped)\n(stopped)\n']);
});

test('Ctrl-C while nothing is said asks for another', async () => {
  const child = spawn(join(root, 'visurf'), ['chat', '--model', tinyModel, ...tokens], { cwd: tmpdir() });
  const outcome = finished(child);
  child.stdin.write('red\n');
  expect(await heard(child.stderr)).toContain('cut off');
  const hint = heard(child.stderr);
  child.kill('SIGINT');
  expect(await hint).toContain('Ctrl-C again ends the chat');
  child.stdin.end('red\n');
  const { code, stdout } = await outcome;
  expect([code, stdout.length > 0]).toEqual([0, true]);
});
