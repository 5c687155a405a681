/**
 * Processes that work together (c10d): they meet in a store that rank 0 hosts, unless their launcher does, and exchange
 * tensors, of the CPU by gloo, of cards by NCCL. Every process makes the same collectives in the same order.
 *
 * `join` gives the `ProcessGroup` of this process, which belongs to one at a time. A collective has begun when the call
 * comes back; its tensors are not to be touched before it is done: `await pending.done`, or `pending.wait()` where there
 * is nothing else to do. Where a process is missing, it and all later ones throw `RankError`, which names it.
 *
 * @example
 * const group = await join({ rank, size, host: '127.0.0.1', port: 29500, timeout: 600 });
 * const gradient = ones([1000]);
 * await group.allReduce(gradient).done;      // sums, in place
 * const [most] = await group.agree([rows], 'max');
 * const all = await group.gather({ rank }); // in the order of ranks
 * group.leave();
 */
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { deserialize, serialize } from 'node:v8';

import { noGrad } from './autograd.ts';
import { empty, tensor } from './factories.ts';
import { native, TorchError, type Collective } from './native.ts';
import { keep, scope } from './scope.ts';
import type { Device, Tensor } from './tensor.ts';

export interface JoinOptions {
  /** From 0. */
  readonly rank: number;
  readonly size: number;
  /** Where rank 0, or the launcher, has the store. */
  readonly host: string;
  readonly port: number;
  /** Seconds that the others may take, to come here and to every collective. */
  readonly timeout: number;
  /** Where tensors lie that are exchanged, beside those of the CPU. */
  readonly device?: Device;
  /** The launcher hosts the store: `TORCHELASTIC_USE_AGENT_STORE` of torchrun. */
  readonly isHosted?: boolean;
  /** Which try it is, in a store that outlives them: `TORCHELASTIC_RESTART_COUNT`. */
  readonly attempt?: number;
  /** What has to be the same in all, beside `size` and the kind of `device`: a word or a few each. */
  readonly terms?: Readonly<Record<string, string>>;
  /**
   * Hears once that others are waited for, after 10 seconds: ranks that are not there yet; undefined where rank 0 is not
   * reached.
   */
  readonly onWait?: (missing: readonly number[] | undefined) => void;
}

/**
 * Processes cannot go on together: `ranks` are gone, late, or have ended with an error. Empty where it is none of these: two
 * have the same rank, or not all were started alike.
 */
export class RankError extends Error {
  override readonly name = 'RankError';
  readonly ranks: readonly number[];
  constructor(message: string, ranks: readonly number[]) {
    super(message);
    this.ranks = ranks;
  }
}

/** What is added up, or compared, over processes. */
export type Reduction = 'sum' | 'max' | 'min';

/** A collective on its way: it is waited for once, in one of two ways. */
export interface Pending {
  /** Waits on this thread. @throws RankError */
  wait(): void;
  /** The event loop goes on meanwhile. Rejects with RankError. A getter: nobody waits before it is asked. */
  readonly done: Promise<void>;
}

const explained = (error: unknown): unknown => {
  const fault = error instanceof TorchError ? native.fault() : undefined;
  return fault ? new RankError(fault.text, fault.ranks) : error;
};

/** The address of this machine that the store is reached from: the others reach this process there. */
async function addressTowards(host: string, port: number): Promise<string> {
  const { address, family } = await lookup(host);
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
  try {
    // Nothing is sent.
    socket.connect(port, address);
    await once(socket, 'connect');
    return socket.address().address;
  } finally {
    socket.close();
  }
}

/** Seconds after which it is said that others are waited for. */
const LONG = 10;
/** Seconds in which one that does not come is to find the others. */
const PATIENCE = 10;

type Comer = Parameters<typeof native.join>[0];

async function comerOf(options: JoinOptions): Promise<Comer> {
  const { rank, size, host, port, timeout, device = 'cpu', isHosted = false, attempt = 0, terms = {} } = options;
  if (!(Number.isInteger(rank) && rank >= 0 && rank < size)) throw new RangeError(`rank ${rank} of ${size}`);
  return {
    ...{ rank, size, host, port, timeout: 1000 * timeout, prefix: `visurf/${attempt}` },
    ...{ address: await addressTowards(host, port), hosted: !isHosted, cards: device.startsWith('cuda') },
    terms: Object.entries(terms).map(([name, value]) => `${name} ${value}\n`).join(''), // prettier-ignore
  };
}

/**
 * Meets the other processes. Comes back when all are there.
 * @throws RankError, in all, for those that have not come within the timeout, for two with the same rank, and for one that
 * was started otherwise; in one alone that comes to others that have met
 * @throws TorchError where the store cannot be had: a port that is taken, a host without an address
 */
export async function join(options: JoinOptions): Promise<ProcessGroup> {
  const { rank, size, timeout, onWait } = options;
  const comer = await comerOf(options);
  const timer = onWait && setTimeout(() => onWait(native.awaited()), 1000 * Math.min(LONG, timeout / 2));
  try {
    await native.join(comer);
  } catch (error) {
    throw explained(error);
  } finally {
    clearTimeout(timer);
  }
  return new ProcessGroup(rank, size);
}

/** In place of `join`: those that wait for this process, or come in the next seconds, are told why it does not come. */
export async function decline(options: JoinOptions, why: string): Promise<void> {
  try {
    await native.decline(await comerOf({ ...options, timeout: Math.min(options.timeout, PATIENCE) }), why);
  } catch {
    // Nobody is there to be told.
  }
}

export class ProcessGroup implements Disposable {
  readonly rank: number;
  readonly size: number;

  /** @internal */
  constructor(rank: number, size: number) {
    this.rank = rank;
    this.size = size;
  }

  /** All processes' `x` (of any shape; float32, bfloat16, float64, int64) together, in place in each. */
  allReduce(x: Tensor, how: Reduction = 'sum'): Pending {
    return begin([x], [x], (each) => native.allReduce(each, how));
  }
  /** out [n] = this rank's part of the sum of all processes' input [size n]. */
  reduceScatter(out: Tensor, input: Tensor): Pending {
    requireParts(input, out, this.size);
    return begin([out, input], [out], (to, from) => native.reduceScatter(to, from));
  }
  /** out [size n] = all processes' input [n], in the order of ranks. */
  allGather(out: Tensor, input: Tensor): Pending {
    requireParts(out, input, this.size);
    return begin([out, input], [out], (to, from) => native.allGather(to, from));
  }
  /** `x` of one process, in all. */
  broadcast(x: Tensor, from = 0): Pending {
    return begin([x], [x], (each) => native.broadcast(each, from));
  }

  /** Numbers of all processes together; as many in each. */
  async agree(numbers: readonly number[], how: Reduction = 'sum'): Promise<number[]> {
    if (numbers.length === 0) return [];
    using x = keep(tensor(Float64Array.from(numbers), { device: 'cpu' }));
    await this.allReduce(x, how).done;
    return x.toArray();
  }
  /** What every process has to say (a structured clone of it), in the order of ranks. */
  async gather<T>(value: T): Promise<T[]> {
    const bytes = serialize(value);
    using length = keep(tensor(Float64Array.of(bytes.length), { device: 'cpu' }));
    using lengths = keep(empty([this.size], { dtype: 'float64', device: 'cpu' }));
    await this.allGather(lengths, length).done;
    const sizes = lengths.toArray();
    const most = Math.max(...sizes);
    const padded = new Uint8Array(most);
    padded.set(bytes);
    using own = keep(tensor(padded, { dtype: 'uint8', device: 'cpu' }));
    using all = keep(empty([this.size * most], { dtype: 'uint8', device: 'cpu' }));
    await this.allGather(all, own).done;
    const flat = all.toTypedArray() as Uint8Array;
    return sizes.map((size, i) => deserialize(flat.subarray(i * most, i * most + size)) as T);
  }
  /** Comes back when all have come here. */
  async barrier(): Promise<void> {
    await this.agree([1]);
  }

  /** Asks all to stop in good order, where they next agree to: half a second later `isStopping` is true in all. */
  stopAll(): void {
    native.stopAll();
  }
  get isStopping(): boolean {
    return native.isStopping();
  }

  /** At the end, to which all have come. */
  leave(): void {
    native.leave();
  }
  /** Without the others: they are told why, and throw it as RankError. Takes 3 seconds at most; the process is to end. */
  abandon(reason: string): void {
    native.leave(reason);
  }
  [Symbol.dispose](): void {
    this.leave();
  }
}

function requireParts(whole: Tensor, part: Tensor, size: number): void {
  if (whole.numel !== size * part.numel || whole.dtype !== part.dtype)
    throw new TypeError(
      `${size} parts of ${part.numel} elements (${part.dtype}) are none of ${whole.numel} (${whole.dtype})`,
    );
}

/** Begins a collective; by copies on the CPU where nothing carries tensors of that device. */
function begin(tensors: Tensor[], results: Tensor[], collective: (...handles: number[]) => Collective): Pending {
  const isDirect = tensors.every(
    ({ device }) => device === 'cpu' || (device.startsWith('cuda') && native.carriesCards()),
  );
  if (isDirect) return pending(collective(...tensors.map(({ handle }) => handle)));
  const copies = tensors.map((each) => keep(scope(() => noGrad(() => each.to({ device: 'cpu' }).clone()))));
  const inner = pending(collective(...copies.map(({ handle }) => handle)));
  const back = (): void => {
    noGrad(() => results.forEach((each) => each.copy_(copies[tensors.indexOf(each)]!)));
    copies.forEach((each) => each.dispose());
  };
  return {
    wait: () => {
      inner.wait();
      back();
    },
    get done() {
      return inner.done.then(back);
    },
  };
}

function pending(collective: Collective): Pending {
  return {
    wait: () => {
      try {
        native.await(collective);
      } catch (error) {
        throw explained(error);
      }
    },
    get done() {
      return native.whenDone(collective).catch((error: unknown) => {
        throw explained(error);
      });
    },
  };
}
