/** serve: OpenAI's chat completions, by their own client and by hand. */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { BASE_MODEL, generateDataset } from '@visurf/mini-grounding';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root, visurf } from './cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'visurf-serve-'));
const run = join(folder, 'run');
let picture: string;
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

interface Server {
  readonly child: ChildProcess;
  readonly url: string;
  readonly ended: Promise<number | null>;
}

async function start(...args: readonly string[]): Promise<Server> {
  const child = spawn(join(root, 'visurf'), ['serve', '--model', run, '--port', '0', ...args], { cwd: tmpdir() });
  children.push(child);
  let [stdout, stderr] = ['', ''];
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<number | null>((done) => child.on('close', done));
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
      if (stdout.includes('\n')) resolve(stdout.trim());
    });
    void ended.then(() => reject(new Error(stderr)));
  });
  return { child, url, ended };
}

let server: Server;
let client: OpenAI;

beforeAll(async () => {
  await generateDataset(join(folder, 'data'), { seed: 3, images: { train: 4, validation: 0, test: 2 } });
  const config =
    `model: ${BASE_MODEL}\noutput: run\nsteps: 1\npromptsPerStep: 2\ndata: { train: data/train.jsonl }\n` +
    'rollout: { group: 2, maxNewTokens: 40 }\n';
  writeFileSync(join(folder, 'config.yaml'), config);
  const { code, stderr } = await visurf('train', join(folder, 'config.yaml'));
  expect(code, stderr).toBe(0);
  picture = `data:image/png;base64,${readFileSync(join(folder, 'data/images/test-00000.png')).toString('base64')}`;
  server = await start();
  client = new OpenAI({ baseURL: server.url, apiKey: 'none', maxRetries: 0 });
}, 180_000);

const asked = (problem = 'red circle') => ({
  model: 'run',
  messages: [
    {
      role: 'user' as const,
      content: [
        { type: 'image_url' as const, image_url: { url: picture } },
        { type: 'text' as const, text: problem },
      ],
    },
  ],
});

interface Pointing {
  readonly content: string;
  readonly reasoning: string | null;
  readonly reasoning_content: string | null;
  readonly boxes: number[][];
  readonly points: number[][];
}

const post = async (body: unknown, headers: Record<string, string> = {}, url = server.url) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(`${url}/chat/completions`, { method: 'POST', body: text, headers });
  return { status: response.status, body: (await response.json()) as { error: { message: string; type: string } } };
};

test('what predict answers: the inside of the answer, the thought, boxes in pixels of the picture', async () => {
  const image = join(folder, 'data/images/test-00000.png');
  const { stdout } = await visurf('predict', '--model', run, '--image', image, '--problem', 'red circle');
  const line = JSON.parse(stdout) as { text: string; boxes: number[][] };
  const { choices, usage } = await client.chat.completions.create(asked());
  const message = choices[0]!.message as unknown as Pointing;
  expect(line.text).toContain(`<answer>${message.content}</answer>`);
  expect(line.text).toContain(`<think>${message.reasoning}</think>`);
  expect(message).toMatchObject({ reasoning_content: message.reasoning, boxes: line.boxes, points: [] });
  expect(choices[0]!.finish_reason).toBe('stop');
  expect(usage!.total_tokens).toBe(usage!.prompt_tokens + usage!.completion_tokens);
});

test('a stream is the same, piece by piece, with its usage', async () => {
  const whole = (await client.chat.completions.create(asked())).choices[0]!.message as unknown as Pointing;
  const stream = await client.chat.completions.create({
    ...asked(),
    stream: true,
    stream_options: { include_usage: true },
  });
  const heard = { content: '', reasoning: '', boxes: undefined as number[][] | undefined };
  const finished: (string | null)[] = [];
  let usage = 0;
  for await (const { choices, usage: counted } of stream) {
    usage = counted?.total_tokens ?? usage;
    const delta = choices[0]?.delta as Partial<Pointing> | undefined;
    heard.content += delta?.content ?? '';
    heard.reasoning += delta?.reasoning ?? '';
    heard.boxes = delta?.boxes ?? heard.boxes;
    if (choices[0]?.finish_reason) finished.push(choices[0].finish_reason);
  }
  expect(heard).toEqual({ content: whole.content, reasoning: whole.reasoning, boxes: whole.boxes });
  expect([finished, usage > 0]).toEqual([['stop'], true]);
  const final = await client.chat.completions.stream(asked()).finalChatCompletion();
  expect(final.choices[0]!.message.content).toBe(whole.content);
});

test('log-probabilities, several answers, seeds, limits on tokens and stop strings', async () => {
  const sampled = { ...asked(), temperature: 1, seed: 5, n: 3, logprobs: true, top_logprobs: 2 };
  const [once, again] = await Promise.all([client.chat.completions.create(sampled), client.chat.completions.create(sampled)]); // prettier-ignore
  expect(once.choices.map(({ message }) => message.content)).toEqual(
    again.choices.map(({ message }) => message.content),
  );
  for (const { logprobs } of once.choices) {
    for (const { token, bytes, top_logprobs: top } of logprobs!.content!) {
      expect(Buffer.from(bytes!).toString()).toBe(token);
      expect(top).toHaveLength(2);
    }
  }
  const short = await client.chat.completions.create({ ...asked(), max_completion_tokens: 3 });
  expect([short.choices[0]!.finish_reason, short.usage!.completion_tokens]).toEqual(['length', 3]);
  const stopped = await client.chat.completions.create({ ...asked(), stop: ['</think>'] });
  const { content, reasoning } = stopped.choices[0]!.message as unknown as Pointing;
  expect([stopped.choices[0]!.finish_reason, content]).toEqual(['stop', '']);
  expect(reasoning).not.toContain('<');
});

test('the schema of an answer is held to, narrower ones too, others are refused', async () => {
  const { data } = await client.models.list();
  const { answer_schema: own } = data[0] as unknown as { answer_schema: { items: object } };
  const two = { ...own, minItems: 2, maxItems: 2 };
  const format = (schema: object) => ({
    response_format: { type: 'json_schema' as const, json_schema: { name: 'boxes', schema: { ...schema } } },
  });
  for (const temperature of [0, 2]) {
    const { choices } = await client.chat.completions.create({
      ...asked(),
      ...format(two),
      max_completion_tokens: 300,
      temperature,
    });
    const boxes = JSON.parse(choices[0]!.message.content!) as { bbox_2d: number[] }[];
    expect(boxes).toHaveLength(2);
    for (const { bbox_2d: box } of boxes) expect(box).toHaveLength(4);
  }
  const other = client.chat.completions.create({ ...asked(), ...format({ type: 'object', properties: {} }) });
  await expect(other).rejects.toMatchObject({ status: 400, param: 'response_format' });
});

test('what cannot be served is refused in words, and never reaches the file system', async () => {
  const secret = join(folder, 'data/images/test-00000.png');
  const showing = (url: string) => ({ ...asked(), messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }, { type: 'text', text: 'x' }] }] }); // prettier-ignore
  for (const url of [
    secret,
    `file://${secret}`,
    'data:text/plain,x',
    'data:image/png;base64,',
    'http://localhost/a.png',
  ]) {
    expect(await post(showing(url))).toMatchObject({ status: 400, body: { error: { type: 'invalid_request_error' } } });
  }
  const faults: [unknown, number][] = [
    ['{', 400],
    [{}, 400],
    [{ ...asked(), messages: [] }, 400],
    [{ ...asked(), temperature: -1 }, 400],
    [{ ...asked(), max_tokens: 1e9 }, 400],
    [{ ...asked(), tools: [{ type: 'function', function: { name: 'f' } }] }, 400],
    [{ ...asked(), top_logprobs: 3 }, 400],
    [JSON.stringify(asked()).replace(/}$/, `,"modalities":${'['.repeat(100_000)}${']'.repeat(100_000)}}`), 400],
    [{ ...asked(), messages: [{ role: 'assistant', content: 'x' }] }, 400],
    [{ ...asked(), messages: [{ role: 'user', content: Array.from({ length: 9 }, () => asked().messages[0]!.content[0]) }] }, 400],
    [showing(`data:image/png;base64,${Buffer.from('<svg/>').toString('base64')}`), 400],
    [{ ...asked(), messages: [{ role: 'user', content: 'word '.repeat(200_000) }] }, 400],
    [{ ...asked(), model: 'other' }, 404],
    [`"${'x'.repeat(33 * 2 ** 20)}"`, 413],
  ]; // prettier-ignore
  for (const [body, status] of faults) {
    const said = await post(body);
    expect([status, typeof said.body.error.message, said.body.error.type]).toEqual([
      said.status,
      'string',
      expect.any(String),
    ]);
  }
  expect((await post(asked(), { origin: 'http://elsewhere.example' })).status).toBe(403);
  expect((await fetch(`${server.url}/nothing`)).status).toBe(404);
  await expect(client.models.retrieve('other')).rejects.toMatchObject({ status: 404 });
  expect((await client.models.retrieve('run')).id).toBe('run');
});

test('health is told at once while it answers, and who waits too long in too long a line is sent away', async () => {
  const narrow = await start('--queue', '2', '--token', 'secret', '--timeout', '1');
  const key = { authorization: 'Bearer secret' };
  expect((await post(asked(), {}, narrow.url)).status).toBe(401);
  expect((await post(asked(), { authorization: 'Bearer other' }, narrow.url)).status).toBe(401);
  const long = { ...asked(), max_tokens: 4000, temperature: 2, n: 32 };
  let answered = 0;
  const answer = () => post(long, key, narrow.url).finally(() => answered++);
  const late = Promise.all([answer(), answer(), answer()]);
  // Were it told behind answers, it would be told once for each of them.
  let told = 0;
  while (answered < 3) {
    await fetch(narrow.url.replace('/v1', '/health')).then((each) => each.json());
    told += 1;
    await setTimeout(20);
  }
  expect(told).toBeGreaterThan(5);
  expect((await late).map(({ status }) => status)).toContain(429);
  narrow.child.kill('SIGKILL');
});

test('SIGTERM: what was begun is finished, and no more is taken', async () => {
  // One after the other, for longer than a signal that nobody answers lets a command live.
  const mortal = await start('--batch', '1');
  const begun = Array.from({ length: 12 }, () => post({ ...asked(), temperature: 2, n: 8 }, {}, mortal.url));
  while (((await (await fetch(mortal.url.replace('/v1', '/health'))).json()) as { busy: number }).busy < 12)
    await setTimeout(5);
  const before = performance.now();
  mortal.child.kill('SIGTERM');
  for (const { status } of await Promise.all(begun)) expect(status).toBe(200);
  expect(await mortal.ended).toBe(0);
  expect(performance.now() - before).toBeLessThan(20_000);
});

const python = process.env.OPENAI_PYTHON ?? join(root, '.tools/openai-venv/bin/python');

describe.skipIf(!existsSync(python))("PyPI's client (OPENAI_PYTHON, or .tools/openai-venv with openai)", () => {
  test('answers, streams and refusals', () => {
    const program = `
import json, sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
asked = json.load(sys.stdin)
whole = client.chat.completions.create(**asked)
message = whole.choices[0].message
parts = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
content = "".join(p.choices[0].delta.content or "" for p in parts if p.choices)
try:
    client.chat.completions.create(**{**asked, "model": "other"})
    status = 200
except openai.NotFoundError as error:
    status = error.status_code
print(json.dumps([message.content, content, message.boxes, message.reasoning_content, parts[-1].usage.total_tokens == whole.usage.total_tokens, status]))
`;
    const { stdout, stderr } = spawnSync(python, ['-c', program, server.url], {
      input: JSON.stringify(asked()),
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    const [content, streamed, boxes, reasoning, isCounted, status] = JSON.parse(stdout) as unknown[];
    expect(content).toMatch(/^\[/);
    expect([streamed, isCounted, status]).toEqual([content, true, 404]);
    expect([Array.isArray(boxes), typeof reasoning]).toEqual([true, 'string']);
  });
});
