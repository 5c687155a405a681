import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { UserError } from '../errors.ts';
import { hash, startHub, type FakeHub } from './testkit.ts';
import { localModel, type LocalModelOptions } from './model.ts';
import type { DownloadProgress } from './repository.ts';

const commit = 'c'.repeat(40);
const shardBytes = 300_000;
const shard = (seed: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: shardBytes }, (_, i) => (i * seed) % 251));
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
const files = {
  'config.json': json({ model_type: 'qwen2_5_vl' }),
  'tokenizer.json': json({ version: '1.0' }),
  'preprocessor_config.json': json({}),
  'chat_template.jinja': Buffer.from('{{ messages }}'),
  'README.md': Buffer.from('read me'),
  'model.safetensors.index.json': json({ weight_map: { a: names[0], b: names[1] } }),
  [names[0]]: shard(3),
  [names[1]]: shard(7),
  'model-00003-of-00002.safetensors': shard(9),
  'pytorch_model.bin': Buffer.from('pickle'),
  'figures/loss.png': Buffer.from('png'),
};
const secret = 'hf_of_this_test';

let hub: FakeHub;
let cacheDir: string;
beforeEach(async () => {
  hub = await startHub({
    'owner/model': { commit, files },
    'owner/gated': { commit, files, token: secret },
    'owner/pickled': { commit, files: { 'config.json': json({}), 'pytorch_model.bin': Buffer.from('x') } },
    'owner/data': { commit, files: { 'README.md': Buffer.from('x') } },
  });
  cacheDir = mkdtempSync(path.join(tmpdir(), 'hub-'));
  vi.stubEnv('HF_HOME', cacheDir);
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HF_ENDPOINT', 'HF_HUB_CACHE']) vi.stubEnv(name, undefined);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub[Symbol.asyncDispose]();
  rmSync(cacheDir, { recursive: true });
});

const resolve = (id = 'owner/model', options: LocalModelOptions = {}): Promise<string> =>
  localModel(id, { cacheDir, endpoint: hub.url, patience: 1, ...options });
const downloads = (name: string): string[] =>
  hub.requests.filter((each) => each.includes(`/resolve/${commit}/${name}`));
const blobs = (): string => path.join(cacheDir, 'models--owner--model', 'blobs');

/** The message of the UserError that a promise fails with. */
async function refusal(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(() => undefined).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UserError);
  return (error as UserError).message;
}

test('a directory stays what it is, and has no revisions', async () => {
  expect(await resolve(cacheDir)).toBe(cacheDir);
  expect(await resolve('./owner/missing')).toBe('./owner/missing');
  expect(await refusal(resolve(cacheDir, { revision: 'main' }))).toContain('a directory has no revisions');
  expect(hub.requests).toEqual([]);
});

test('the files of a model arrive in the layout of the shared cache, and nothing else', async () => {
  const seen: DownloadProgress[] = [];
  const directory = await resolve('owner/model', { onProgress: (each) => seen.push(each) });
  const root = path.join(cacheDir, 'models--owner--model');
  expect(directory).toBe(path.join(root, 'snapshots', commit));
  expect(readFileSync(path.join(root, 'refs', 'main'), 'utf8')).toBe(commit);
  for (const name of ['README.md', 'model-00003-of-00002.safetensors', 'pytorch_model.bin', 'figures']) {
    expect(existsSync(path.join(directory, name)), name).toBe(false);
  }
  for (const name of [...names, 'config.json', 'tokenizer.json', 'chat_template.jinja'] as const) {
    expect(readFileSync(path.join(directory, name)).equals(files[name]), name).toBe(true);
  }
  expect(readlinkSync(path.join(directory, names[0]))).toBe(`../../blobs/${hash('sha256', files[names[0]])}`);
  const config = files['config.json'];
  expect(readlinkSync(path.join(directory, 'config.json'))).toBe(
    `../../blobs/${hash('sha1', `blob ${config.length}\0`, config)}`,
  );
  const { done, total } = seen.at(-1)!;
  expect([done, readdirSync(root).filter((name) => name.startsWith('lock'))]).toEqual([total, []]);
});

test('what is there is not downloaded again; a commit that is there needs no request', async () => {
  const first = await resolve();
  hub.requests.length = 0;
  expect(await resolve()).toBe(first);
  expect(hub.requests).toEqual(['/api/models/owner/model/revision/main']);
  hub.requests.length = 0;
  expect(await resolve('owner/model', { revision: commit })).toBe(first);
  expect(hub.requests).toEqual([]);
});

test('without weights, only what describes the model; the weights may follow', async () => {
  const directory = await resolve('owner/model', { weights: false });
  expect(existsSync(path.join(directory, 'tokenizer.json'))).toBe(true);
  expect(existsSync(path.join(directory, names[0]))).toBe(false);
  await resolve();
  expect(existsSync(path.join(directory, names[1]))).toBe(true);
  expect(downloads('config.json')).toHaveLength(1);
});

test('the cache and the endpoint are those of the environment', async () => {
  vi.stubEnv('HF_ENDPOINT', `${hub.url}/`);
  const directory = await localModel('owner/model', { patience: 1 });
  expect(directory.startsWith(path.join(cacheDir, 'hub', 'models--owner--model'))).toBe(true);
});

test('two at once download once', async () => {
  const [a, b] = await Promise.all([resolve(), resolve()]);
  expect(a).toBe(b);
  expect(downloads(names[0])).toHaveLength(1);
});

describe('downloads that break off', () => {
  test('go on where they stopped', async () => {
    hub.breaks.push(100_000);
    const directory = await resolve();
    expect(readFileSync(path.join(directory, names[0])).equals(files[names[0]])).toBe(true);
    const [, second] = downloads(names[0]);
    expect(second).toMatch(/bytes=[1-9]\d*-299999$/);
  });

  test('and in a later process, too', async () => {
    const partial = path.join(blobs(), `${hash('sha256', files[names[0]])}.incomplete`);
    mkdirSync(path.dirname(partial), { recursive: true });
    writeFileSync(partial, files[names[0]].subarray(0, 123_456));
    await resolve();
    expect(downloads(names[0])).toEqual([`/owner/model/resolve/${commit}/${names[0]} bytes=123456-299999`]);
  });

  test('a server without ranges sends all again, and the beginning is skipped', async () => {
    hub.ranges = false;
    hub.breaks.push(100_000);
    const directory = await resolve();
    expect(readFileSync(path.join(directory, names[0])).equals(files[names[0]])).toBe(true);
  });

  test('a damaged part is thrown away', async () => {
    const partial = path.join(blobs(), `${hash('sha256', files[names[0]])}.incomplete`);
    mkdirSync(path.dirname(partial), { recursive: true });
    writeFileSync(partial, Buffer.alloc(1000, 1));
    const directory = await resolve();
    expect(readFileSync(path.join(directory, names[0])).equals(files[names[0]])).toBe(true);
    expect(downloads(names[0])).toHaveLength(2);
  });

  test('a truncated blob is completed', async () => {
    const directory = await resolve();
    truncateSync(path.join(directory, names[0]), 5);
    rmSync(path.join(directory, names[1]));
    await resolve();
    expect(readFileSync(path.join(directory, names[0])).equals(files[names[0]])).toBe(true);
  });

  test('five attempts that bring nothing are enough', async () => {
    hub.breaks.push(0, 0, 0, 0, 0, 0, 0, 0);
    expect(await refusal(resolve())).toMatch(/the hub cannot be reached at http:\/\/127.0.0.1/);
    expect(downloads(names[0])).toHaveLength(5);
  });

  test('a failure that passes is survived', async () => {
    hub.failures.push(503, 429);
    await resolve();
  });
});

describe('refusals say what to do', () => {
  test('content that is not what the hub says', async () => {
    const forged = Buffer.from(files[names[0]]);
    forged[77]! ^= 1;
    hub.forged.set(names[0], forged);
    const message = await refusal(resolve());
    expect(message).toContain(`owner/model/${names[0]}`);
    expect(message).toContain(hash('sha256', files[names[0]]));
    expect(message).toContain(hash('sha256', forged));
    expect(existsSync(path.join(blobs(), hash('sha256', files[names[0]])))).toBe(false);
  });

  test('small files are checked, too', async () => {
    hub.forged.set('config.json', Buffer.from(files['config.json'].toString().replace('qwen', 'pwen')));
    expect(await refusal(resolve())).toContain('owner/model/config.json');
  });

  test('a model that does not exist; a revision that does not', async () => {
    expect(await refusal(resolve('owner/nothing'))).toContain('no such directory, and no such model on the hub');
    expect(await refusal(resolve('owner/model', { revision: 'v9' }))).toContain('no revision v9');
    expect(await refusal(resolve('owner/model', { revision: '../x' }))).toContain('is no revision');
  });

  test('a gated model without a token, and with another one', async () => {
    const without = await refusal(resolve('owner/gated'));
    expect(without).toMatch(/private or gated[^]*HF_TOKEN/);
    expect(without).toContain(`${hub.url}/owner/gated`);
    expect(await refusal(resolve('owner/gated', { token: 'hf_other' }))).toMatch(/no access[^]*accept the terms/);
    expect(await refusal(resolve('owner/gated', { token: 'mine' }))).toContain('does not begin with hf_');
    vi.stubEnv('HF_TOKEN', secret);
    expect(existsSync(path.join(await resolve('owner/gated'), 'config.json'))).toBe(true);
  });

  test('the token of a login', async () => {
    writeFileSync(path.join(cacheDir, 'token'), `${secret}\n`);
    await resolve('owner/gated');
  });

  test('no network', async () => {
    const endpoint = hub.url;
    await hub[Symbol.asyncDispose]();
    expect(await refusal(resolve('owner/model', { endpoint }))).toMatch(/cannot be reached at .*HF_ENDPOINT/s);
  });

  test('no weights but pickled ones; no model at all', async () => {
    expect(await refusal(resolve('owner/pickled'))).toMatch(/no weights as safetensors[^]*Pickled/);
    expect(downloads('pytorch_model.bin')).toEqual([]);
    expect(await refusal(resolve('owner/data'))).toContain('it has no config.json');
  });

  test('offline, and not in the cache', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await refusal(resolve())).toMatch(/not in the cache[^]*HF_HUB_OFFLINE/);
    expect(hub.requests).toEqual([]);
  });
});

test('offline, the cache is enough; without a network it is taken with a warning', async () => {
  const directory = await resolve();
  hub.requests.length = 0;
  expect(await resolve('owner/model', { offline: true })).toBe(directory);
  expect(hub.requests).toEqual([]);
  await hub[Symbol.asyncDispose]();
  const warnings: string[] = [];
  expect(await resolve('owner/model', { onWarning: (message) => warnings.push(message) })).toBe(directory);
  expect(warnings).toEqual(['the hub cannot be reached: owner/model is taken from the cache as it is']);
  rmSync(path.join(directory, names[1]));
  expect(await refusal(resolve('owner/model', { offline: true }))).toContain('not in the cache');
});
