/** publish: a trained model goes to the hub, whole, once, and with a page that holds no path of this machine. */

import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BASE_MODEL, generateDataset } from '@visurf/mini-grounding';
import { publish } from '@visurf/core';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { expectRefusal, visurf } from './cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'visurf-publish-'));
const run = join(folder, 'run');
const TOKEN = 'hf_secret';

interface Seen {
  readonly to: 'hub' | 'storage';
  readonly what: string;
  readonly authorization: string | undefined;
}

let seen: Seen[] = [];
let stored = new Map<string, Buffer>();
let failures: number[] = [];
let committed = new Map<string, Buffer>();
let [hub, storage]: Server[] = [];
const urlOf = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** What the hub does with a commit: https://huggingface.co/docs/hub/api, in the smallest form. */
function answer(path: string, body: Buffer): [status: number, value: object] {
  if (path === '/api/repos/create') return committed.size > 0 ? [409, { error: 'exists' }] : [200, { url: '', id: '' }];
  if (path.includes('/preupload/')) {
    const { files } = JSON.parse(body.toString()) as { files: { path: string }[] };
    return [200, { files: files.map(({ path: name }) => ({ path: name, uploadMode: name.endsWith('.safetensors') ? 'lfs' : 'regular' })) }]; // prettier-ignore
  }
  if (path.endsWith('/info/lfs/objects/batch')) {
    const { objects } = JSON.parse(body.toString()) as { objects: { oid: string; size: number }[] };
    const actions = (oid: string) =>
      stored.has(oid) ? {} : { actions: { upload: { href: `${urlOf(storage!)}/${oid}` } } };
    return [200, { transfer: 'basic', objects: objects.map((each) => ({ ...each, ...actions(each.oid) })) }];
  }
  const lines = body.toString().trim().split('\n').map((line) => JSON.parse(line) as { key: string; value: Record<string, string> }); // prettier-ignore
  for (const { key, value } of lines) {
    if (key === 'file') committed.set(value['path']!, Buffer.from(value['content']!, 'base64'));
    if (key === 'lfsFile') committed.set(value['path']!, stored.get(value['oid']!)!);
  }
  return [200, { success: true, commitOid: 'a'.repeat(40), commitUrl: '', hookOutput: '' }];
}

beforeAll(async () => {
  hub = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const path = request.url!;
      seen.push({ to: 'hub', what: path, authorization: request.headers.authorization });
      const isAllowed = request.headers.authorization === `Bearer ${TOKEN}`;
      const failure = path.includes('/commit/') ? failures.shift() : undefined;
      const [status, value] = !isAllowed
        ? [403, { error: 'no' }]
        : failure
          ? [failure, { error: 'later' }]
          : answer(path, body);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    });
  }).listen(0, '127.0.0.1');
  storage = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      seen.push({ to: 'storage', what: request.url!, authorization: request.headers.authorization });
      const oid = createHash('sha256').update(body).digest('hex');
      if (request.url === `/${oid}`) stored.set(oid, body);
      response.writeHead(200).end();
    });
  }).listen(0, '127.0.0.1');
  await generateDataset(join(folder, 'data'), { seed: 3, images: { train: 4, validation: 3, test: 0 } });
  const config =
    `model: ${BASE_MODEL}\noutput: run\nsteps: 1\npromptsPerStep: 2\nrollout: { group: 2, maxNewTokens: 40 }\n` +
    'data: { train: data/train.jsonl, validation: data/validation.jsonl }\neval: { every: 1 }\n';
  writeFileSync(join(folder, 'config.yaml'), config);
  const { code, stderr } = await visurf('train', join(folder, 'config.yaml'));
  expect(code, stderr).toBe(0);
}, 120_000);
afterAll(() => {
  for (const server of [hub, storage]) server?.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  [seen, stored, committed, failures] = [[], new Map(), new Map(), []];
});

const options = { to: 'me/cars', token: TOKEN, version: '1', license: 'apache-2.0', patience: 1 };
const publishing = (more: object = {}) => publish(run, { ...options, endpoint: urlOf(hub!), ...more });

test('all files arrive, the page says what it is, the token goes to the hub alone', async () => {
  const progress: number[] = [];
  const { url, kind, files, commit } = await publishing({ onProgress: ({ done, total }: { done: number; total: number }) => progress.push(done / total) }); // prettier-ignore
  expect([url, kind, commit]).toEqual([`${urlOf(hub!)}/me/cars`, 'model', 'a'.repeat(40)]);
  expect([...committed.keys()].sort()).toEqual(files);
  expect(files).toEqual(expect.arrayContaining(['README.md', 'config.json', 'experiment.json', 'model.safetensors']));
  expect(committed.get('model.safetensors')!.length).toBeGreaterThan(1e5);
  const page = committed.get('README.md')!.toString();
  for (const said of [
    'license: apache-2.0',
    '| paradigm | visurf |',
    '| data | train.jsonl |',
    '| gIoU |',
    'Of 6 samples',
  ]) {
    expect(page).toContain(said);
  }
  expect(page).not.toContain(folder);
  for (const [name, bytes] of committed) expect(bytes.includes(folder), name).toBe(false);
  expect(progress.at(-1)).toBe(1);
  const tokens = (to: Seen['to']) =>
    new Set(seen.filter((each) => each.to === to).map(({ authorization }) => authorization));
  expect([tokens('hub'), tokens('storage')]).toEqual([new Set([`Bearer ${TOKEN}`]), new Set([undefined])]);
});

test('what has arrived is not sent again, and a hub that stumbles is asked again', async () => {
  failures = [500, 503];
  await publishing();
  expect(seen.filter(({ to }) => to === 'storage')).toHaveLength(1);
  expect(committed.size).toBeGreaterThan(5);
  seen = [];
  await publishing();
  expect(seen.filter(({ to }) => to === 'storage')).toHaveLength(0);
});

test('what cannot be published is said in words', async () => {
  await expect(publishing({ token: 'hf_other' })).rejects.toThrow(/does not let this token write there[^]*HF_TOKEN/);
  await expect(publishing({ to: 'cars' })).rejects.toThrow(/"cars" is no name on the hub/);
  await expect(publishing({ merge: true })).rejects.toThrow(/no adapter to merge/);
  failures = [400];
  await expect(publishing()).rejects.toThrow(/the hub failed \(status 400\)/);
  expectRefusal(await visurf('publish', join(folder, 'none'), '--to', 'me/cars'), /token|no such directory/);
  expectRefusal(await visurf('publish', '--to', 'me/cars'), /name a run/);
});
