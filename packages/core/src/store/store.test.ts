import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { UserError } from '../errors.ts';
import { FaultyWay, openTestStore, type Fault } from '../testing/s3.ts';
import { localFolder, parseAddress } from './address.ts';
import { isTemporary, reasonOf } from './failure.ts';
import { findLease, Lease, LeaseLost } from './lease.ts';
import { ObjectStore } from './store.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'visurf-store-'));
const BUCKET = 'lab';
const PART = 5 << 20;
let way: FaultyWay;
let behind: Awaited<ReturnType<typeof openTestStore>>;
let store: ObjectStore;

beforeAll(async () => {
  behind = await openTestStore(BUCKET);
  way = new FaultyWay(behind.url);
  process.env['AWS_ENDPOINT_URL'] = await way.start();
  process.env['AWS_ACCESS_KEY_ID'] = 'AKIAVISURFTEST';
  process.env['AWS_SECRET_ACCESS_KEY'] = 'a-secret-that-nobody-sees';
});
beforeEach(async () => {
  way.fault = undefined;
  store = await ObjectStore.open({ bucket: BUCKET, prefix: randomUUID() }, PART);
});
afterAll(() => {
  way.close();
  behind.close();
  rmSync(folder, { recursive: true });
});

/** The first requests of a method meet a fault. */
const first = (count: number, method: string, fault: Fault): void => {
  let left = count;
  way.fault = (asked) => (asked.method === method && left-- > 0 ? fault : undefined);
};

test('addresses', () => {
  expect(parseAddress('s3://lab/runs/cars/')).toEqual({ bucket: 'lab', prefix: 'runs/cars' });
  for (const wrong of [
    's3://lab',
    's3://lab/',
    's3:/lab/x',
    's3://LAB/x',
    's3://lab/a/../b',
    's3://lab/a//b',
    's3://lab/a?b',
  ])
    expect(() => parseAddress(wrong)).toThrow(/s3:\/\/bucket\/prefix|no names/);
  const [a, b] = [
    { bucket: 'lab', prefix: 'a' },
    { bucket: 'lab', prefix: 'a/b' },
  ];
  expect(localFolder(b, 'runs').startsWith(localFolder(a, 'runs'))).toBe(false);
  expect(path.basename(localFolder(b, 'runs'))).toBe('b');
});

test('objects: written, listed over pages, read, removed', async () => {
  await Promise.all(
    Array.from({ length: 120 }, (_, i) => store.write(`groups/${String(i).padStart(6, '0')}.jsonl`, 'x')),
  );
  await store.write('log', 'what it says', { metadata: { session: 'abc' } });
  expect(await store.list('groups/')).toHaveLength(120);
  expect((await store.list()).find(({ key }) => key === 'log')).toEqual({ key: 'log', bytes: 12 });
  const read = await store.read('log');
  expect([read?.body.toString(), read?.metadata]).toEqual(['what it says', { session: 'abc' }]);
  expect(read!.age).toBeLessThan(5_000);
  await store.remove('log');
  expect(await store.read('log')).toBeUndefined();
});

test.runIf(process.env['VISURF_S3'] === undefined)('keys that can be no files are passed over', async () => {
  const { objects } = behind.memory!;
  await store.write('config.yaml', 'x');
  const { prefix } = store.address;
  const one = objects.get(`${prefix}/config.yaml`)!;
  for (const key of ['', 'groups/', '../other', 'a//b', '/etc/passwd', 'a/./b', 'x'.repeat(300)])
    objects.set(`${prefix}/${key}`, one);
  expect((await store.list()).map(({ key }) => key)).toEqual(['config.yaml']);
});

test('a write that has a condition', async () => {
  const etag = await store.write('lease', 'one', { onlyIf: 'absent' });
  expect(await store.write('lease', 'two', { onlyIf: 'absent' })).toBeUndefined();
  expect(await store.write('lease', 'two', { onlyIf: etag })).toBeDefined();
  expect(await store.write('lease', 'three', { onlyIf: etag })).toBeUndefined();
  expect(await store.write('gone', 'three', { onlyIf: etag })).toBeUndefined();
  expect((await store.read('lease'))?.body.toString()).toBe('two');
});

const FAULTS: Readonly<Record<string, Fault>> = {
  'errors of the store': { status: 500, code: 'InternalError' },
  throttling: { status: 503, code: 'SlowDown' },
  'a cut connection': 'cut',
  'a lost answer': 'lost answer',
  slowness: { milliseconds: 300 },
};

test.each(Object.entries(FAULTS))('a file in parts, through %s, is whole', async (_, fault) => {
  const file = path.join(folder, 'large');
  const bytes = randomBytes(2 * PART + 12345);
  writeFileSync(file, bytes);
  let count = 0;
  way.fault = ({ method }) => (method !== 'GET' && count++ % 2 === 0 ? fault : undefined);
  // What the client does not repeat itself, the next call takes up.
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      await store.upload('large', file);
      break;
    } catch (error) {
      expect([reasonOf(error), isTemporary(error)]).toEqual([expect.any(String), true]);
    }
  }
  way.fault = undefined;
  const back = path.join(folder, 'back');
  const { sha256 } = await store.download('large', back);
  expect(sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  expect(readFileSync(back).equals(bytes)).toBe(true);
});

test('parts that arrived are not sent again, and uploads of the dead are dropped', async () => {
  const file = path.join(folder, 'parts');
  writeFileSync(file, randomBytes(3 * PART));
  way.fault = ({ method, number }) =>
    method === 'POST' && number > 0 && isLast(number) ? { status: 403, code: 'AccessDenied' } : undefined;
  const isLast = (number: number): boolean =>
    way.asked.filter((each) => each.method === 'PUT' && each.number < number && each.key.endsWith('parts')).length >= 3;
  await expect(store.upload('parts', file)).rejects.toThrow('AccessDenied');
  const before = way.asked.filter(({ method, key }) => method === 'PUT' && key.endsWith('parts')).length;
  expect(before).toBe(3);
  const other = await ObjectStore.open(store.address, PART);
  way.fault = undefined;
  await store.upload('parts', file);
  expect(way.asked.filter(({ method, key }) => method === 'PUT' && key.endsWith('parts')).length).toBe(before);
  way.fault = ({ method, key }) =>
    method === 'PUT' && key.endsWith('dead') ? { status: 403, code: 'AccessDenied' } : undefined;
  await expect(store.upload('dead', file)).rejects.toThrow('AccessDenied');
  way.fault = undefined;
  await other.abortOthers();
  const left = [...(behind.memory?.uploads.values() ?? [])].filter(({ key }) => key.startsWith(store.address.prefix));
  expect(left).toEqual([]);
  // The store has forgotten it: a later call begins anew.
  await expect(store.upload('dead', file)).rejects.toThrow();
  await store.upload('dead', file);
  expect((await store.list('dead'))[0]?.bytes).toBe(3 * PART);
});

test('a download that is cut goes on where it was', async () => {
  const bytes = randomBytes(100_000);
  await store.write('cut', bytes);
  first(3, 'GET', 'half an answer');
  const back = path.join(folder, 'cut');
  const { sha256 } = await store.download('cut', back);
  expect(sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  first(2, 'GET', 'half an answer');
  expect((await store.read('cut'))?.body.equals(bytes)).toBe(true);
});

test('a store that sends another part, or no length, is refused, and asked no more', async () => {
  const answers: { status: number; headers: Record<string, string>; body: string }[] = [];
  let asked = 0;
  const server = createServer((_, response) => {
    const { status, headers, body } = answers[Math.min(asked++, answers.length - 1)]!;
    response.writeHead(status, headers);
    response.write(body);
    // What is written is on its way by then; a part of what was promised.
    setTimeout(() => (body === 'a' ? response.destroy() : response.end()), 50);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  vi.stubEnv('AWS_ENDPOINT_URL', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    server.close();
  });
  const liar = await ObjectStore.open(store.address);
  const refused = async (work: Promise<unknown>, message: RegExp): Promise<void> => {
    const error = liar.explain(await work.catch((each: unknown) => each));
    expect(error).toBeInstanceOf(UserError);
    expect(String(error)).toMatch(message);
  };
  const file = path.join(folder, 'lies');
  const etag = { etag: '"a"' };
  answers.push({ status: 200, headers: { ...etag, 'content-length': '3' }, body: 'a' });
  answers.push({
    status: 206,
    headers: { ...etag, 'content-length': '3', 'content-range': 'bytes 0-2/3' },
    body: 'abc',
  });
  await refused(liar.download('key', file), /sends another part/);
  expect(asked).toBe(2);
  answers.splice(0, 2, { status: 200, headers: etag, body: 'abc' });
  await refused(liar.download('key', file), /does not say how long/);
  await refused(liar.read('key'), /does not say how long/);
  expect(asked).toBe(4);
  await refused(liar.download('key', path.join(file, 'below')), /lies.*: a part of the path is not a directory/);
  liar.close();
});

test('what a store refuses is said in words, without secrets', async () => {
  const said = async (fault: Fault): Promise<string> => {
    way.fault = () => fault;
    const error = await store.list().catch((each: unknown) => store.explain(each));
    return String(error);
  };
  expect(await said({ status: 403, code: 'AccessDenied' })).toContain(
    'the store refuses access (AccessDenied, status 403)',
  );
  for (const [status, code] of [
    [403, 'InvalidAccessKeyId'],
    [403, 'SignatureDoesNotMatch'],
    [400, 'ExpiredToken'],
  ] as const) {
    const keys = await said({ status, code });
    expect(keys).toContain(`the store takes no such keys (${code}, status ${status})`);
    expect(keys).toContain('Check AWS_ACCESS_KEY_ID');
  }
  expect(await said({ status: 403, code: 'RequestTimeTooSkewed' })).toContain('Set the clock');
  expect(await said({ status: 404, code: 'NoSuchBucket' })).toContain('there is no such bucket');
  expect(await said({ status: 500, code: 'InternalError' })).toContain('the store failed');
  const cut = await said('cut');
  expect(cut).toMatch(/cannot be reached at 127\.0\.0\.1:\d+ \(\w+\)/);
  expect(cut).not.toContain('secret');
});

test('one session holds a lease; it is renewed, given back, found dead', async () => {
  const take = async (session: string, own: string[] = []) => Lease.take(store, session, await findLease(store), own);
  const nothing = await findLease(store);
  const lease = (await take('a'))!;
  expect(lease.isGuarded).toBe(true);
  // Two that saw none at the same time.
  expect(await Lease.take(store, 'b', nothing, [])).toBeUndefined();
  await expect(take('b')).rejects.toThrow(/in use by process \d+ on .*free in 1[12]\d s/s);
  for (const fault of ['lost answer', { status: 500, code: 'InternalError' }] as const) {
    first(1, 'PUT', fault);
    await lease.renew();
  }
  // An earlier session of this machine, which is dead.
  const next = (await take('b', ['a']))!;
  await expect(lease.renew()).rejects.toThrow(LeaseLost);
  await expect(lease.check()).rejects.toThrow('another machine has taken this run over');
  await next.release();
  expect((await findLease(store))?.claim).toMatchObject({ session: 'b', held: false });
  expect(await take('c')).toBeDefined();
});

test('a store that looks at no condition is told', async ({ skip }) => {
  const { memory } = behind;
  if (!memory) return skip();
  memory.conditions = false;
  const lease = (await Lease.take(store, 'a', undefined, []))!;
  expect(lease.isGuarded).toBe(false);
  await lease.renew();
  memory.conditions = true;
});
