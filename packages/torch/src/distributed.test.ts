/** Real processes: what they exchange, and what is said of those that are gone. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';

import { freePort } from './ports.ts';

// They have to start, on machines that are busy.
vi.setConfig({ testTimeout: 240_000 });

const children: ChildProcess[] = [];
afterEach(() => {
  for (const each of children.splice(0)) each.kill('SIGKILL');
});

interface Failure {
  readonly name: string;
  readonly ranks?: number[];
  readonly message: string;
}

/** Starts processes that join, do `task` and say what came of it, or why nothing did. */
async function start(
  size: number,
  task: string,
  timeout = 180,
): Promise<{ said: Promise<unknown>[]; all: ChildProcess[] }> {
  const port = await freePort();
  const all = Array.from({ length: size }, (_, rank) =>
    fork(
      new URL('./testing/rank.ts', import.meta.url),
      [task, String(rank), String(size), String(port), String(timeout)],
      {
        execArgv: [],
        serialization: 'advanced',
        env: { ...process.env, OMP_NUM_THREADS: '1' },
      },
    ),
  );
  children.push(...all);
  // What was killed says nothing.
  const said = all.map(async (child) => {
    const message = once(child, 'message').then(([value]: unknown[]) => value);
    return await Promise.race([message, once(child, 'exit').then(() => undefined)]);
  });
  return { said, all };
}

test.each([2, 3])('%d processes add up, gather, scatter and broadcast in every dtype', async (size) => {
  const { said } = await start(size, 'exchange');
  const sum = (size * (size + 1)) / 2;
  for (const [rank, found] of (await Promise.all(said)).entries()) {
    expect(found).toEqual({
      ...Object.fromEntries(
        ['float32', 'bfloat16', 'float64'].flatMap((dtype) => [
          [`sum ${dtype}`, [sum, 2 * sum, 3 * sum]],
          // Row r of the sum over processes of (own rank + 1) * [0, 1, 2, ...].
          [`scattered ${dtype}`, [2 * rank * sum, (2 * rank + 1) * sum]],
          [
            `gathered ${dtype}`,
            Array.from({ length: size }, (_, r) => [r, -r])
              .flat()
              .map((x) => x + 0),
          ],
          [`told ${dtype}`, [size - 1]],
        ]),
      ),
      most: [size - 1, 1],
      least: [0, 2 - size],
      objects: Array.from({ length: size }, (_, r) => ({ rank: r, text: 'ä'.repeat(100 * r), none: undefined })),
      other: [sum],
      turns: true,
    });
  }
});

test('one that is killed is named, by all others', async () => {
  const { said } = await start(3, 'killed-1');
  for (const rank of [0, 2])
    expect(await said[rank]).toMatchObject({ name: 'RankError', ranks: [1], message: expect.stringMatching(/^rank 1 is gone/) }); // prettier-ignore
});

test('the first, which hosts the store, is named likewise', async () => {
  const { said } = await start(3, 'killed-0');
  for (const rank of [1, 2])
    expect(await said[rank]).toMatchObject({ name: 'RankError', ranks: [0], message: expect.stringMatching(/^rank 0 is gone/) }); // prettier-ignore
});

test.each([0, 1])('one that hangs is named after the timeout: rank %d', async (stopped) => {
  const { said } = await start(2, `stopped-${stopped}`, 5);
  expect(await said[1 - stopped]).toMatchObject({ name: 'RankError', ranks: [stopped] });
});

test('one that is late is named with the exchange that it did not come to', async () => {
  const { said } = await start(3, 'late-1', 5);
  const both = [(await said[0]) as Failure, (await said[2]) as Failure];
  for (const each of both) {
    expect(each).toMatchObject({ name: 'RankError', ranks: [1] });
    expect(each.message).toMatch(/^rank 1 did not come to exchange 2 in time, but to 1 \(Timed out waiting/);
  }
});

test.each([0, 1])('what one ends with is told to the others: rank %d', async (rank) => {
  const { said } = await start(3, `fails-${rank}`);
  const all = (await Promise.all(said)) as Failure[];
  for (const each of all) expect(each.message).toMatch(rank === all.indexOf(each) ? 'the disk is full' : `rank ${rank} has ended: the disk is full`); // prettier-ignore
});

test('who does not come is named', async () => {
  const { said } = await start(3, 'absent-2', 8);
  const expected = { name: 'RankError', ranks: [2], message: 'rank 2 has not come within 8 s' };
  expect(await Promise.all([said[0], said[1]])).toEqual([expected, expected]);
});

test.each([0, 1])('a second process of rank %i is refused, and those that have met go on', async (rank) => {
  const { said } = await start(2, `doubled-${rank}`, 8);
  const all = (await Promise.all(said)) as [Failure, Failure];
  expect(all[rank]!.message).toMatch(`rank ${rank} is there already: two processes`);
  expect(all[1 - rank]).toBe('done');
});

const TWICE = 'two processes were started with the same rank, or another training meets at the same address';

test.each([
  ['size=2', /^rank (1|2) has WORLD_SIZE (2|3), and rank (0|1|2) has (2|3)$/],
  ['size=4', /^rank \d has WORLD_SIZE (3|4), and rank \d has (3|4)$/],
  ['rank=2', `rank 2 is there twice: ${TWICE}`],
  ['rank=0', `rank 0 is there twice: ${TWICE}`],
  ['visurf=that', /^rank \d has visurf (this|that), and rank \d has (this|that)$/],
  ['device=cuda', /^rank \d has device (cpu|cuda, and (no )?NCCL), and rank \d has (cpu|cuda, and (no )?NCCL)$/],
])('one of three that is started with another %s is named by all, and not waited for', async (change, message) => {
  const { said } = await start(3, `unlike-1-${change}`, 3600);
  for (const each of await Promise.all(said))
    expect(each).toEqual({ name: 'RankError', ranks: [], message: expect.stringMatching(message) as unknown });
});

test('one that takes no part in the meeting says why', async () => {
  const { said } = await start(3, 'declines-1', 3600);
  const expected = { name: 'RankError', ranks: [1], message: 'rank 1 has ended: steps: three is no number' };
  expect(await Promise.all(said)).toEqual([expected, 'declined', expected]);
});

test('a network that one of them does not have is named by all', async () => {
  const { said } = await start(2, 'unlike-1-interface=none0', 3600);
  const all = (await Promise.all(said)) as [Failure, Failure];
  expect(all[0].message).toMatch(/^rank 1 has ended: no network by GLOO_SOCKET_IFNAME=none0: /);
  expect(all[1].message).toMatch(/^no network by GLOO_SOCKET_IFNAME=none0: /);
});

test('who is waited for is said once it takes long', async () => {
  const { join } = (await import('./index.ts')).distributed;
  const heard: unknown[] = [];
  const onWait = (missing: unknown): void => void heard.push(missing);
  const options = { size: 3, host: '127.0.0.1', timeout: 4, onWait };
  await expect(join({ ...options, rank: 0, port: await freePort() })).rejects.toThrow('ranks 1, 2 have not come');
  await expect(join({ ...options, rank: 1, port: await freePort() })).rejects.toThrow('rank 0 is not at');
  expect(heard).toEqual([[1, 2], undefined]);
});

test('a port that is taken is no rank that is gone', async () => {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { join } = (await import('./index.ts')).distributed;
  await expect(join({ rank: 0, size: 2, host: '127.0.0.1', port, timeout: 2 })).rejects.toThrow(
    `another program listens at port ${port}`,
  );
  server.close();
});

test('what listens where the first should be, and never answers, is not waited for without end', async () => {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { join } = (await import('./index.ts')).distributed;
  await expect(join({ rank: 1, size: 2, host: '127.0.0.1', port, timeout: 0.5 })).rejects.toMatchObject({
    ...{ name: 'RankError', ranks: [0], message: expect.stringContaining('rank 0 is not at') as unknown },
  });
  server.close();
});

test('what one asks of all is heard by all', async () => {
  const { said } = await start(2, 'stops');
  expect(await Promise.all(said)).toEqual([true, true]);
});
