import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApp } from './app.ts';
import { Studio } from './studio.ts';
import { group, sample, startEvent, stepEvent, writeRun } from './testkit.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'studio-app-'));
const run = path.join(folder, 'cars');
let studio: Studio;
const page = { assets: new Map(), html: (base: string) => `<html><head><base href="${base}"></head></html>` };

beforeAll(async () => {
  await writeRun(run, {
    events: [
      startEvent(),
      stepEvent(1),
      stepEvent(2),
      { type: 'end', step: 2, time: 3_000, reason: 'failed', message: 'out of memory' },
    ],
    samples: [sample('car')],
    groups: { 1: [group(1, 'car', [0, 3], { active: false })] },
    answers: { 1: [{ id: 'car', text: '[]', reward: 1 }], 2: [{ id: 'car', text: '[1]', reward: 3 }] },
  });
  mkdirSync(path.join(folder, 'plain'));
  studio = new Studio([folder]);
});
afterAll(async () => {
  await studio.close();
  rmSync(folder, { recursive: true });
});

const appOf = (options: { token?: string; base?: string } = {}): Hono =>
  createApp({ studio, page, hosts: ['localhost', '127.0.0.1'], base: '', ...options });

const ask = (app: Hono, address: string, headers: Record<string, string> = {}, init: RequestInit = {}) =>
  app.request(`http://localhost${address}`, { ...init, headers: { host: 'localhost:7070', ...headers } });

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- expectations on whatever was answered
async function json(address: string): Promise<any> {
  const response = await ask(appOf(), address);
  expect(response.status).toBe(200);
  return response.json();
}

test('runs with what is to be said of them', async () => {
  const [found, ...others] = await json('/api/runs');
  expect(others).toEqual([]);
  expect(found).toMatchObject({
    paradigm: 'visurf',
    state: 'failed',
    reason: 'out of memory',
    step: 2,
    steps: 10,
    spark: [0.1, 0.2],
  });
});

test('a group with its sample, its history and the weights; answers beside those of another step', async () => {
  const [{ id }] = await json('/api/runs');
  const details = await json(`/api/runs/${id}/groups/1/0`);
  expect(details).toMatchObject({
    group: { id: 'car', label: { active: false } },
    sample: { id: 'car' },
    weights: { accuracy: 1 },
  });
  const answers = await json(`/api/runs/${id}/evaluations/2?against=1`);
  expect(answers).toMatchObject([{ id: 'car', change: 2, before: { reward: 1 }, sample: { problem: 'the car' } }]);
});

test.each([
  ['/api/runs/x', 404],
  ['/api/nothing', 404],
  ['/api/runs/ID/groups/7/0', 404],
  ['/api/runs/ID/groups?filter=nonsense', 400],
  ['/api/runs/ID/groups?sort=__proto__', 400],
  ['/api/runs/ID/groups?limit=-1', 400],
  ['/api/runs/ID/groups?limit=1e99', 400],
  ['/api/runs/ID/images/..%2F..%2Fevents.jsonl', 404],
  ['/api/runs/ID/images/events.jsonl', 404],
  ['/api/runs/ID/images/0123456789abcdee.webp', 404],
  ['/assets/..%2Findex.html', 404],
])('%s is answered with %i and a message', async (address, status) => {
  const [{ id }] = await json('/api/runs');
  const response = await ask(appOf(), address.replace('ID', String(id)));
  expect(response.status).toBe(status);
  expect(await response.json()).toMatchObject({ error: { message: expect.stringMatching(/\w/) } });
});

describe('pictures', () => {
  test('are served by their hash', async () => {
    const [{ id }] = await json('/api/runs');
    const response = await ask(appOf(), `/api/runs/${id}/images/0123456789abcdef.webp`);
    expect(response.headers.get('content-type')).toBe('image/webp');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  });

  test('that are links to elsewhere are not', async () => {
    const secret = path.join(folder, 'secret');
    writeFileSync(secret, 'secret');
    symlinkSync(secret, path.join(run, 'images/aaaaaaaaaaaaaaaa.webp'));
    const [{ id }] = await json('/api/runs');
    expect((await ask(appOf(), `/api/runs/${id}/images/aaaaaaaaaaaaaaaa.webp`)).status).toBe(404);
  });
});

test('a run whose files are pipes is shown without them, and nobody waits', async () => {
  const piped = mkdtempSync(path.join(tmpdir(), 'studio-pipes-'));
  const directory = path.join(piped, 'run');
  await writeRun(directory, {
    events: [startEvent(), stepEvent(1)],
    samples: [sample('car')],
    groups: { 1: [group(1, 'car', [0, 3])] },
    answers: { 1: [{ id: 'car', text: '[]', reward: 1 }] },
  });
  const files = [
    'config.yaml',
    'samples.jsonl',
    'groups/000001.jsonl',
    'evaluations/000001.jsonl',
    'corrections.jsonl',
  ];
  for (const name of files) {
    rmSync(path.join(directory, name), { force: true });
    execFileSync('mkfifo', [path.join(directory, name)]);
  }
  const watched = new Studio([piped]);
  const app = createApp({ studio: watched, page, hosts: ['localhost'], base: '' });
  const [found] = (await (await ask(app, '/api/runs')).json()) as { readonly id: string }[];
  expect(found).toMatchObject({ step: 1 });
  expect(found).not.toHaveProperty('seed');
  const { id } = found!;
  expect((await ask(app, `/api/runs/${id}/groups/1/0`)).status).toBe(404);
  expect(await (await ask(app, `/api/runs/${id}/evaluations/1`)).json()).toEqual([]);
  const decision = { method: 'POST', body: JSON.stringify({ id: 'car', action: 'drop' }) };
  expect((await ask(app, `/api/runs/${id}/court`, {}, decision)).status).toBe(400);
  // One whose log is a pipe has said nothing yet.
  rmSync(path.join(directory, 'events.jsonl'));
  execFileSync('mkfifo', [path.join(directory, 'events.jsonl')]);
  const silent = new Studio([piped]);
  const all = await ask(createApp({ studio: silent, page, hosts: ['localhost'], base: '' }), '/api/runs');
  expect(await all.json()).toMatchObject([{ step: 0 }]);
  for (const each of [watched, silent]) await each.close();
  rmSync(piped, { recursive: true });
});

describe('who may ask', () => {
  test('pages of other sites may not, nor by another name', async () => {
    expect((await ask(appOf(), '/api/runs', { host: 'evil.example' })).status).toBe(403);
    expect((await ask(appOf(), '/api/runs', { origin: 'http://evil.example' })).status).toBe(403);
    expect((await ask(appOf(), '/api/runs', { origin: 'http://localhost:7070' })).status).toBe(200);
    // A page of this host at another port, and the page itself.
    for (const [site, status] of [
      ['same-site', 403] as const,
      ['cross-site', 403] as const,
      ['same-origin', 404] as const,
    ]) {
      const headers = { origin: 'http://localhost:3000', 'sec-fetch-site': site };
      expect((await ask(appOf(), '/api/runs/x/court', headers, { method: 'POST', body: '{}' })).status).toBe(status);
    }
  });

  test('with a token nobody without it, by address, header or cookie', async () => {
    const app = appOf({ token: 'secret' });
    expect((await ask(app, '/api/runs', { host: 'lab.example' })).status).toBe(401);
    expect((await ask(app, '/', { host: 'lab.example' })).status).toBe(401);
    expect((await ask(app, '/api/runs?token=wrong', { host: 'lab.example' })).status).toBe(401);
    const response = await ask(app, '/?token=secret', { host: 'lab.example' });
    expect(response.status).toBe(200);
    const cookie = response.headers.get('set-cookie') ?? '';
    expect(cookie).toContain('HttpOnly');
    expect((await ask(app, '/api/runs', { host: 'lab.example', cookie: cookie.split(';')[0] ?? '' })).status).toBe(200);
    expect((await ask(app, '/api/runs', { host: 'lab.example', authorization: 'Bearer secret' })).status).toBe(200);
  });

  test('a page may load nothing but itself', async () => {
    const policy = (await ask(appOf(), '/')).headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain('unsafe');
  });
});

test('below a path of a proxy', async () => {
  const app = appOf({ base: '/studio' });
  expect(await (await ask(app, '/studio/run/1')).text()).toContain('<base href="/studio/">');
  expect((await ask(app, '/studio/api/runs')).status).toBe(200);
  expect((await ask(app, '/studio')).headers.get('location')).toBe('/studio/');
  expect((await ask(app, '/api/runs')).status).toBe(404);
});

test('decisions are appended beside the data, and only where corrections are', async () => {
  const [{ id }] = await json('/api/runs');
  const decide = (body: unknown) =>
    ask(appOf(), `/api/runs/${id}/court`, {}, { method: 'POST', body: JSON.stringify(body) });
  for (const wrong of [{}, { id: 'car', action: 'burn' }, { id: 'car', action: 'fix' }, { id: 1, action: 'drop' }])
    expect((await decide(wrong)).status).toBe(400);
  expect((await decide({ id: 'car', action: 'drop' })).status).toBe(200);
  expect((await decide({ id: 'car', action: 'fix', solution: [] })).status).toBe(200);
  const file = path.join(run, 'corrections.jsonl');
  expect(readFileSync(file, 'utf8')).toBe('{"id":"car","action":"drop"}\n{"id":"car","action":"fix","solution":[]}\n');
  writeFileSync(file, 'something else\n');
  expect((await decide({ id: 'car', action: 'drop' })).status).toBe(400);
  rmSync(file);
});

test('a counterfactual is asked with switches that are known', async () => {
  const [{ id }] = await json('/api/runs');
  const whatIf = (body: unknown) =>
    ask(appOf(), `/api/runs/${id}/counterfactual/1/0`, {}, { method: 'POST', body: JSON.stringify(body) });
  const switches = {
    label: true,
    eliminate: 'on',
    smooth: 'off',
    inject: 'always',
    thinking: 'eliminate',
    std: 'sample',
    weight: 1,
  };
  expect(await (await whatIf(switches)).json()).toMatchObject({ label: { active: true } });
  for (const wrong of [{ ...switches, std: 'x' }, { ...switches, weight: 'x' }, { ...switches, label: 1 }, [], 'x'])
    expect((await whatIf(wrong)).status).toBe(400);
});
