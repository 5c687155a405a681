/** A process of distributed.test.ts: rank.ts TASK RANK SIZE PORT TIMEOUT */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';

import { arange, distributed, full, keep, tensor, zeros } from '../index.ts';
import { standInDevice } from '../testing.ts';

const [task = '', ...numbers] = process.argv.slice(2);
const [rank = 0, size = 1, port = 0, timeout = 1] = numbers.map(Number);
const [what, whose, other] = task.split('-');
const isMine = Number(whose) === rank;

async function exchange(group: distributed.ProcessGroup): Promise<object> {
  const found: Record<string, unknown> = {};
  for (const dtype of ['float32', 'bfloat16', 'float64'] as const) {
    using x = keep(tensor([1, 2, 3], { dtype }).mul(rank + 1));
    await group.allReduce(x).done;
    found[`sum ${dtype}`] = x.toArray();
    using part = zeros([2], { dtype });
    group.reduceScatter(part, arange(0, 2 * size, 1, { dtype }).mul(rank + 1)).wait();
    found[`scattered ${dtype}`] = part.toArray();
    using all = zeros([2 * size], { dtype });
    await group.allGather(all, tensor([rank, -rank], { dtype })).done;
    found[`gathered ${dtype}`] = all.toArray().map((each) => each + 0);
    using told = full([1], rank, { dtype });
    group.broadcast(told, size - 1).wait();
    found[`told ${dtype}`] = told.toArray();
  }
  found['most'] = await group.agree([rank, 1 - rank], 'max');
  found['least'] = await group.agree([rank, 1 - rank], 'min');
  found['objects'] = await group.gather({ rank, text: 'ä'.repeat(100 * rank), none: undefined });
  // A device that nothing carries tensors of.
  using other = full([1], rank + 1, { device: standInDevice() });
  await group.allReduce(other).done;
  found['other'] = other.toArray();
  // The event loop turns while the others are waited for.
  let turned = 0;
  const timer = setInterval(() => turned++, 1);
  if (rank === 0) await wait(500);
  await group.barrier();
  clearInterval(timer);
  found['turns'] = rank === 0 || turned > 0;
  return found;
}

async function work(group: distributed.ProcessGroup): Promise<unknown> {
  if (what === 'exchange') return exchange(group);
  await group.barrier();
  if (what === 'stops') {
    if (rank === 1) group.stopAll();
    while (!group.isStopping) await wait(20);
    await group.barrier();
    return group.isStopping;
  }
  let found: unknown = 'done';
  if (isMine) {
    if (what === 'killed') process.kill(process.pid, 'SIGKILL');
    if (what === 'stopped') process.kill(process.pid, 'SIGSTOP');
    if (what === 'late') await wait(60_000);
    if (what === 'doubled') found = await another();
    if (what === 'fails') throw new Error('the disk is full');
  }
  await group.barrier();
  return found;
}

/** What becomes of a further process with the rank of this one. */
async function another(): Promise<unknown> {
  const args = ['exchange', String(rank), String(size), String(port), String(timeout)];
  const [said] = (await once(fork(import.meta.filename, args, { serialization: 'advanced' }), 'message')) as unknown[];
  return said;
}

/** What one is started with otherwise than the others: `unlike-RANK-KEY=VALUE`. */
function unlike(): Partial<distributed.JoinOptions> {
  if (what !== 'unlike') return {};
  const [key = '', value = ''] = other!.split('=');
  if (key === 'interface') process.env['GLOO_SOCKET_IFNAME'] = value;
  if (key === 'visurf') return { terms: { visurf: value } };
  return key === 'device' ? { device: 'cuda:0' } : { [key]: Number(value) };
}

async function attempt(): Promise<unknown> {
  let group: distributed.ProcessGroup | undefined;
  try {
    if (what === 'absent' && isMine) await wait(60_000);
    const options = { rank, size, host: '127.0.0.1', port, timeout };
    if (what === 'declines' && isMine) {
      await distributed.decline(options, 'steps: three is no number');
      return 'declined';
    }
    group = await distributed.join({ ...options, terms: { visurf: 'this' }, ...(isMine && unlike()) });
    const found = await work(group);
    group.leave();
    return found;
  } catch (error) {
    const { name, message } = error as Error;
    group?.abandon(message);
    return { name, message, ...(error instanceof distributed.RankError && { ranks: error.ranks }) };
  }
}

const found = await attempt();
process.send?.(found, () => process.exit());
