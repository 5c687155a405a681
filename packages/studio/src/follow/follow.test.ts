import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventLines, sample, startEvent, stepEvent, writeRun } from '../testkit.ts';
import { follow } from './follow.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'studio-follow-'));
process.env['XDG_CACHE_HOME'] = path.join(folder, 'cache');
const run = path.join(folder, 'cars');
const end = { type: 'end', step: 3, time: 9_000, reason: 'done' } as const;

beforeAll(async () => {
  await writeRun(run, {
    events: [
      startEvent(),
      stepEvent(1),
      stepEvent(2),
      { type: 'eval', step: 2, time: 2_500, n: 1, metrics: { gIoU: 40 } },
    ],
    samples: [sample('car')],
    answers: { 2: [{ id: 'car', text: '[]', boxes: [[1, 2, 30, 40]] }] },
  });
});
const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

/** Records of a file of TFRecords. */
function records(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(bytes.readBigUInt64LE(at));
    found.push(bytes.subarray(at + 12, at + 12 + length));
    at += 16 + length;
  }
  return found;
}

const stopSoon = (): AbortSignal => AbortSignal.timeout(50);

test('TensorBoard: what is new is appended, whatever was half written', async () => {
  const board = path.join(folder, 'board');
  expect(await follow(run, { to: `tensorboard=${board}`, signal: stopSoon() })).toBe(3);
  expect(await follow(run, { to: `tensorboard=${board}`, signal: stopSoon() })).toBe(0);
  const inside = path.join(board, 'cars');
  const file = path.join(inside, readdirSync(inside)[0]!);
  const before = readFileSync(file);
  // The first says the version; its checksums are those that tensorboard 2.21 accepts.
  expect(before.subarray(0, 8).toString('hex')).toBe('1800000000000000');
  expect(records(before)[0]?.toString()).toContain('brain.Event:2');
  expect(before.includes(Buffer.from('train/reward'))).toBe(true);
  expect(before.includes(Buffer.from('eval/gIoU'))).toBe(true);
  expect(before.includes(Buffer.from('\x89PNG', 'latin1'))).toBe(true);
  appendFileSync(file, 'half a record of a follower that died');
  appendFileSync(path.join(run, 'events.jsonl'), eventLines([stepEvent(3), end]));
  expect(await follow(run, { to: `tensorboard=${board}` })).toBe(1);
  const after = readFileSync(file);
  expect(after.subarray(0, before.length).equals(before)).toBe(true);
  expect(records(after)).toHaveLength(records(before).length + 1);
});

/** A server that remembers what it was sent. */
interface Asked {
  readonly address: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- expectations on whatever was sent
  readonly body: any;
  readonly token: unknown;
}

async function serve(answer: (address: string) => [number, unknown]): Promise<{ url: string; asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as unknown;
      asked.push({ address: request.url ?? '', body, token: request.headers['x-trackio-write-token'] });
      const [status, value] = answer(request.url ?? '');
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

test('trackio: one run of a project, points with ids that do not repeat; a busy server is asked again', async () => {
  let busy = 1;
  const { url, asked } = await serve(() => (busy-- > 0 ? [503, {}] : [200, {}]));
  expect(await follow(run, { to: `trackio=${url}/?write_token=abc&project=blood` })).toBe(4);
  const logs = asked.at(-1)?.body.logs as { run_id: string; project: string; log_id: string; metrics: object }[];
  expect(asked.map(({ address }) => address)).toEqual(['/api/bulk_log', '/api/bulk_log']);
  expect(asked.at(-1)?.token).toBe('abc');
  expect(new Set(logs.map(({ log_id }) => log_id)).size).toBe(4);
  expect(new Set(logs.map(({ run_id }) => run_id)).size).toBe(1);
  expect(logs[0]).toMatchObject({
    project: 'blood',
    metrics: { 'train/reward': 0.1, 'seconds/rollout': 0.5, 'memory/bytes': 1e8 },
  });
  expect(await follow(run, { to: `trackio=${url}/?write_token=abc&project=blood` })).toBe(0);
});

test('MLflow: the run is made once and found again by its tag, and ended', async () => {
  const answers: Record<string, unknown> = {
    'experiments/search': { experiments: [] },
    'experiments/create': { experiment_id: '7' },
    'runs/search': {},
    'runs/create': { run: { info: { run_id: 'r1' } } },
  };
  const { url, asked } = await serve((address) => [200, answers[address.replace('/api/2.0/mlflow/', '')] ?? {}]);
  expect(await follow(run, { to: `mlflow=${url}` })).toBe(4);
  const methods = asked.map(({ address }) => address.replace('/api/2.0/mlflow/', ''));
  expect(methods).toEqual([
    'experiments/search',
    'experiments/create',
    'runs/search',
    'runs/create',
    'runs/log-batch',
    'runs/log-batch',
    'runs/update',
  ]);
  expect(asked[4]?.body.params).toContainEqual({ key: 'paradigm', value: 'visurf' });
  expect(asked[5]?.body.metrics).toContainEqual({ key: 'eval/gIoU', value: 40, timestamp: 2_500, step: 2 });
  expect(asked[6]?.body).toMatchObject({ run_id: 'r1', status: 'FINISHED' });
});

test.each([
  ['nothing', 'is not a place to follow to'],
  ['tensorboard=', 'is not a place to follow to'],
  ['__proto__=x', 'is not a place to follow to'],
  ['trackio=here', 'is no address'],
])('--to %s says what is wrong', async (to, message) => {
  await expect(follow(run, { to })).rejects.toThrow(message);
});

test('a folder without a run, or with several, is named', async () => {
  await expect(follow(path.join(run, 'groups'), { to: 'tensorboard=x' })).rejects.toThrow('there is no run here');
});
