import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { freePort } from '@visurf/torch/ports';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { evaluate } from '../evaluate.ts';
import { parseConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { readEvents, type StepEvent } from '../run/events.ts';
import { ModelServer, type Draft } from '../testing/model-server.ts';
import { fixtures, tinyModel } from '../testing/oracle.ts';
import { train } from '../train.ts';
import { Endpoint } from './http.ts';
import { WeightsFolder } from './weights.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-servers-'));
  const lines = ['small-40x40.png', 'flat-90x60.png'].map((image, i) => ({
    ...{ id: `s${i}`, image: path.join(fixtures, 'images', image), problem: 'the red circle' },
    solution: i === 0 ? [] : [{ bbox_2d: [2, 3, 20, 30] }],
  }));
  writeFileSync(path.join(folder, 'train.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const configOf = (servers: readonly string[], changes: Record<string, unknown> = {}, rollout: object = {}): Config =>
  parseConfig({
    ...{ model: tinyModel, output: path.join(folder, 'run'), steps: 2, promptsPerStep: 2 },
    data: { train: path.join(folder, 'train.jsonl'), allowOutside: true, prompt: 'find {Question}' },
    rollout: { group: 3, maxNewTokens: 8, backend: 'vllm', servers, timeout: 20, ...rollout },
    optimizer: { learningRate: 1e-2 },
    train: { lora: { rank: 2 } },
    record: { tokens: 'all', images: 'none' },
    ...changes,
  });

const steps = (): StepEvent[] =>
  readEvents(path.join(folder, 'run', 'events.jsonl')).filter((event) => event.type === 'step');
const warnings = (): string[] =>
  readEvents(path.join(folder, 'run', 'events.jsonl')).flatMap((event) =>
    event.type === 'warning' ? [event.message] : [],
  );
const groups = (): string[] => readdirSync(path.join(folder, 'run', 'groups')).sort();

test('vLLM samples with the adapter of every step, which has a name of its own and is taken back', async () => {
  await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
  await train(configOf([server.url]));
  for (const { metrics } of steps()) {
    expect(metrics['mismatch']).toBeLessThan(1e-5);
    expect(metrics['mismatchMaxRatio']).toBeCloseTo(1, 4);
    expect(metrics['mismatchMasked']).toBe(0);
  }
  const loads = server.asked.filter((each) => each.startsWith('/v1/load'));
  const unloads = server.asked.filter((each) => each.startsWith('/v1/unload'));
  expect(new Set(loads).size).toBe(2);
  expect(unloads.map((each) => each.split(' ')[1])).toEqual(loads.map((each) => each.split(' ')[1]));
  expect(existsSync(path.join(folder, 'run', 'weights'))).toBe(false);
});

test.each([
  ['an adapter', { train: { lora: { rank: 2 } } }],
  ['all weights', { train: {} }],
])('SGLang samples with %s of every step', async (_, changes) => {
  await using server = await ModelServer.start({ program: 'sglang', model: tinyModel });
  await train(configOf([server.url], { ...changes, optimizer: { learningRate: 1e-3 } }, { backend: 'sglang' }));
  expect(steps().map(({ metrics }) => metrics['mismatch']! < 1e-5)).toEqual([true, true]);
});

test.each(['vllm', 'sglang'] as const)(
  '%s that has lost its adapters in between is given them again',
  async (backend) => {
    await using server = await ModelServer.start({ program: backend, model: tinyModel });
    server.faults.forget = 1;
    await train(configOf([server.url], { steps: 1 }, { backend }));
    expect(server.asked.filter((each) => each.includes('/load_lora')).length).toBe(2);
    expect(groups()).toEqual(['000001.jsonl']);
  },
);

test('where SGLang would go on with images of earlier weights, it is said', async () => {
  await using server = await ModelServer.start({ program: 'sglang', model: tinyModel });
  for (const [trained, said] of [
    [{}, 1],
    [{ freezeVision: true }, 0],
    [{ lora: { rank: 2 } }, 0],
  ] as const) {
    const changes = { steps: 1, train: trained, optimizer: { learningRate: 1e-3 } };
    await train(configOf([server.url], changes, { backend: 'sglang' }));
    expect(warnings().filter((each) => each.includes('SGLANG_VLM_CACHE_SIZE_MB=0'))).toHaveLength(said);
    rmSync(path.join(folder, 'run'), { recursive: true });
  }
});

test('an older SGLang is asked under the paths that it has', async () => {
  await using server = await ModelServer.start({ program: 'sglang', model: tinyModel });
  server.faults.isOld = true;
  await train(configOf([server.url], { steps: 1 }, { backend: 'sglang' }));
  expect(server.asked.slice(0, 4)).toEqual(['/model_info', '/get_model_info', '/server_info', '/get_server_info']);
});

test('what SGLang would cut off without a word is refused', async () => {
  await using server = await ModelServer.start({ program: 'sglang', model: tinyModel });
  server.faults.input = 16;
  await expect(train(configOf([server.url], { steps: 1 }, { backend: 'sglang' }))).rejects.toThrow(
    /response of 8 are more than the server takes, 20/,
  );
});

test('a text with a control token is not sent', async () => {
  await using server = await ModelServer.start({ program: 'sglang', model: tinyModel });
  const data = { train: path.join(folder, 'train.jsonl'), allowOutside: true, prompt: '{Question} <|image_pad|>' };
  const made = train(configOf([server.url], { steps: 1, data }, { backend: 'sglang' }));
  await expect(made).rejects.toThrow(/the red circle <\|image_pad\|>.*control token/s);
  expect(server.asked).not.toContain('/generate');
});

test('a server that stops and comes back with nothing gets the weights again, and no group is lost or doubled', async () => {
  let server = await ModelServer.start({ program: 'vllm', model: tinyModel });
  const { port } = server;
  let restarted = 0;
  const events = train(configOf([server.url], { steps: 3 }), {
    onEvent: (event) => {
      if (event.kind !== 'step' || event.step !== 1) return;
      void (async () => {
        await server[Symbol.asyncDispose]();
        server = await ModelServer.start({ program: 'vllm', model: tinyModel, port });
        restarted++;
      })();
    },
  });
  await events;
  expect(restarted).toBe(1);
  await server[Symbol.asyncDispose]();
  expect(groups()).toEqual(['000001.jsonl', '000002.jsonl', '000003.jsonl']);
  for (const file of groups()) {
    const lines = readFileSync(path.join(folder, 'run', 'groups', file), 'utf8')
      .trim()
      .split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { rollouts: unknown[] }).rollouts.length)).toEqual([3, 3]);
  }
  expect(steps().every(({ metrics }) => (metrics['mismatch'] ?? 0) < 1e-5)).toBe(true);
});

test('of two servers one may go: the other answers for it, with the same texts', async () => {
  await using first = await ModelServer.start({ program: 'vllm', model: tinyModel });
  await using second = await ModelServer.start({ program: 'vllm', model: tinyModel });
  second.faults.cut = 1e9;
  await train(configOf([first.url, second.url], { steps: 1 }, { concurrent: 1 }));
  const whole = readFileSync(path.join(folder, 'run', 'groups', '000001.jsonl'), 'utf8');
  rmSync(path.join(folder, 'run'), { recursive: true });
  await train(configOf([first.url], { steps: 1 }));
  expect(readFileSync(path.join(folder, 'run', 'groups', '000001.jsonl'), 'utf8')).toBe(whole);
});

test('a server that closes what it left open between steps is not taken for one that is away', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
      socket.once('data', () => socket.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = new Endpoint(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  for (let i = 0; i < 2; i++) {
    expect(await endpoint.call({ method: 'GET', path: '/', seconds: 5, most: 10 })).toEqual({});
    await new Promise((resolve) => setImmediate(resolve));
  }
  endpoint.close();
  server.close();
});

test('a busy server, and one that fails now and then, are asked again', async () => {
  await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
  server.faults.refuse = { status: 429, times: 2 };
  await train(configOf([server.url], { steps: 1 }));
  server.faults.refuse = { status: 500, times: 3 };
  rmSync(path.join(folder, 'run'), { recursive: true });
  await train(configOf([server.url], { steps: 1 }));
  expect(groups()).toEqual(['000001.jsonl']);
});

const spoilt = (change: (draft: Draft['responses'][number], whole: Draft) => void) => (draft: Draft) =>
  change(draft.responses[1]!, draft);

test.each<[string, (draft: Draft) => void, RegExp]>([
  ['expands images twice', (draft) => draft.promptIds.splice(2, 0, ...draft.promptIds.slice(2, 6)), /another prompt/],
  ['has another template', (draft) => (draft.promptIds[1] = 5), /token 1 of \d+ is 5 there/],
  ['says too few', (draft) => draft.responses.pop(), /2 responses, asked for 3/],
  ['says too much', spoilt((each) => each.tokens.push(...Array<number>(9).fill(7))), /asked for 8 at most|goes on after/],
  ['says nothing', spoilt((each) => each.tokens.splice(0)), /without tokens/],
  ['leaves out a log-probability', spoilt((each) => each.logProbs.pop()), /log-probabilities of \d+ tokens/],
  ['has no number', spoilt((each) => (each.logProbs[0] = NaN)), /of another form/],
  ['has none that could be', spoilt((each) => (each.logProbs[0] = -9999)), /log-probability of -9999/],
  ['is more than certain', spoilt((each) => (each.logProbs[0] = 0.5)), /log-probability of 0.5/],
  ['says what is no token', spoilt((each) => (each.tokens[0] = 1e9)), /token 1000000000/],
  ['says half a token', spoilt((each) => (each.tokens[0] = 1.5)), /token 1.5/],
  ['is cut off early', spoilt((each, whole) => { whole.responses[1] = { ...each, tokens: [7], logProbs: [-1], stop: 'length' }; }), /cut off after 1 of 8/],
  ['stops without a stop token', spoilt((each) => Object.assign(each, { tokens: [7], logProbs: [-1], stop: 'stop' })), /stopped at token 7/],
])('a server that %s is refused before a group is written', async (_, change, message) => {
  await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
  server.faults.change = change;
  await expect(train(configOf([server.url], { steps: 1 }))).rejects.toThrow(message);
  expect(groups()).toEqual([]);
}); // prettier-ignore

test.each([
  ['is no JSON', 'something else', /another form/],
  ['has no ids', '{"choices": [{"index": 0}], "prompt_token_ids": []}', /vLLM 0.10.2 or later/],
  ['never ends', 'x'.repeat(1 << 20), /more than \d+ bytes/],
  ['has nothing for a response', '{"choices": [null], "prompt_token_ids": []}', /vLLM 0.10.2 or later/],
])('an answer that %s is refused', async (_, body, message) => {
  await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
  server.faults.body = body;
  await expect(train(configOf([server.url], { steps: 1 }))).rejects.toThrow(message);
});

test('what a process of the run that died has left on a server is taken back when it goes on', async () => {
  await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
  const { prefix } = new WeightsFolder(path.join(folder, 'run', 'weights'), 0, 'adapter', {});
  const load = async (name: string, directory: string): Promise<void> => {
    const body = JSON.stringify({ lora_name: name, lora_path: directory });
    expect((await fetch(`${server.url}/v1/load_lora_adapter`, { method: 'POST', body })).ok).toBe(true);
  };
  await train(configOf([], { steps: 1, output: path.join(folder, 'other') }, { backend: 'local' }));
  const adapter = path.join(folder, 'other', 'last');
  await load(`${prefix}0000-000007`, adapter);
  await load('somebody-else', adapter);
  await train(configOf([server.url], { steps: 1 }));
  const taken = server.asked.filter((each) => each.startsWith('/v1/unload'));
  expect(taken[0]).toBe(`/v1/unload_lora_adapter ${prefix}0000-000007`);
  expect(taken.join()).not.toContain('somebody-else');
});

test('a server that hangs is given up after a few times of its time', async () => {
  await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
  server.faults.hang = true;
  await expect(train(configOf([server.url], { steps: 1 }, { timeout: 0.4 }))).rejects.toThrow(
    /failed 5 times: no answer within 0.4 s/,
  );
});

test('a server that changes the protocol has not answered', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end('HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = new Endpoint(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await expect(endpoint.call({ method: 'GET', path: '/health', seconds: 5, most: 10 })).rejects.toThrow(/101/);
  server.close();
});

test('what is wrong with servers is said before there is a run', async () => {
  await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
  const { url } = server;
  const refused = async (config: Config, message: RegExp): Promise<void> => {
    await expect(train(config)).rejects.toThrow(message);
    expect(existsSync(path.join(folder, 'run'))).toBe(false);
  };
  await refused(configOf([url], { train: {} }), /cannot be given all weights/);
  await refused(configOf([url], { train: { lora: { rank: 2, vision: true } } }), /leaves out the part/);
  await refused(configOf([url], {}, { backend: 'sglang' }), /no SGLang server/);
  await refused(configOf(['http://127.0.0.1:9'], {}, { timeout: 1 }), /127.0.0.1:9: no server answers/);
  server.faults.refuse = { status: 401, times: 1 };
  await refused(configOf([url]), /VISURF_SERVER_TOKEN/);
  for (const [servers, message] of [
    [[], /needs addresses/],
    [['localhost:8000'], /is no address/],
    [['http://a:b@localhost'], /password/],
    [[url, url], /twice/],
  ] as const) {
    expect(() => configOf(servers)).toThrow(message);
  }
  expect(() => configOf([url], {}, { backend: 'local' })).toThrow(/goes with rollout.backend/);
});

test('another program that answers at the address of a server is quoted in a line', async () => {
  const server = createHttp((_, response) => {
    response
      .writeHead(404)
      .end('<html>\n<head><title>Error:\n  not found</title></head>\n<body>no\nmore</body>\n</html>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await expect(train(configOf([url]))).rejects.toThrow(
    new RegExp(
      `^${url}: no vLLM server: 404: Error: not found\\n  Another program answers there: .*rollout\\.backend.*$`,
    ),
  );
  server.close();
});

test('a server that takes no adapters says how to start it', async () => {
  await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
  server.faults.isFixed = true;
  await expect(train(configOf([server.url]))).rejects.toThrow(/VLLM_ALLOW_RUNTIME_LORA_UPDATING=True/);
  await using other = await ModelServer.start({ program: 'sglang', model: tinyModel });
  other.faults.isFixed = true;
  const refused = train(configOf([other.url], { output: path.join(folder, 'other') }, { backend: 'sglang' }));
  await expect(refused).rejects.toThrow(/: 400: LoRA is not enabled\. .*--enable-lora --max-lora-rank/s);
});

test('a server that the run starts is started again where it dies, and ends with the run', async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const script = path.join(import.meta.dirname, '../testing/model-server.ts');
  const serverCommand = `'${process.execPath}' '${script}' vllm '${tinyModel}' ${port}`;
  let killed: Promise<unknown> | undefined;
  await train(configOf([url], { steps: 3 }, { serverCommand, timeout: 120 }), {
    onEvent: (event) => {
      if (event.kind === 'step' && event.step === 1) killed = fetch(`${url}/exit`).catch((error: unknown) => error);
    },
  });
  expect(await killed).toBeInstanceOf(Error);
  expect(groups()).toHaveLength(3);
  expect(steps().every(({ metrics }) => (metrics['mismatch'] ?? 0) < 1e-5)).toBe(true);
  await expect(fetch(`${url}/health`)).rejects.toThrow();
  const output = path.join(folder, 'other');
  const failing = { serverCommand: 'echo "$VLLM_ALLOW_RUNTIME_LORA_UPDATING"; false' };
  await expect(train(configOf([url], { output }, failing))).rejects.toThrow(/server.log/);
  expect(readFileSync(path.join(output, 'server.log'), 'utf8')).toBe('True\n');
});

test.each(['vllm', 'sglang'] as const)(
  '%s evaluates a model, or an adapter that it is given, as it is here',
  async (backend) => {
    await using server = await ModelServer.start({ program: backend, model: tinyModel });
    await train(configOf([], { steps: 1 }, { backend: 'local' }));
    const data = { data: path.join(folder, 'train.jsonl'), allowOutside: true, prompt: 'find {Question}' };
    for (const model of [tinyModel, path.join(folder, 'run')]) {
      const [here, there] = [undefined, { backend, servers: [server.url] }].map((by) =>
        evaluate({ ...data, model, by, maxNewTokens: 8, output: path.join(folder, 'answers.jsonl') }),
      );
      expect((await there!).metrics).toEqual((await here!).metrics);
      expect((await there!).samples.map(({ response }) => response)).toEqual(
        (await here!).samples.map(({ response }) => response),
      );
    }
    expect(readdirSync(path.join(folder, 'run', 'checkpoints'))).toEqual(['000001']);
    const adapters = server.asked.filter((each) => each.includes('lora_adapter'));
    expect(adapters.map((each) => each.split(' ')[0]!.replace('/v1', ''))).toEqual([
      '/load_lora_adapter',
      '/unload_lora_adapter',
    ]);
  },
);

test('a server of other weights is noticed', async () => {
  await using server = await ModelServer.start({
    ...{ program: 'vllm', model: tinyModel },
    spoil: ({ model }) => model.namedParameters().get('lm_head.weight')!.mul_(3),
  });
  await train(configOf([server.url], { steps: 1 }));
  expect(steps()[0]!.metrics['mismatch']).toBeGreaterThan(0.05);
  expect(warnings().join()).toMatch(/nats a token from the policy/);
});
