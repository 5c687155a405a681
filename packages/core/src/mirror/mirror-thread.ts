/** The thread that sends a run to a store (mirror.ts): steps do not come back to the event loop of the training. */
import { setTimeout } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { addressOf } from '../store/address.ts';
import { isTemporary, reasonOf } from '../store/failure.ts';
import { LeaseLost, RENEWAL } from '../store/lease.ts';
import { ObjectStore } from '../store/store.ts';
import { Mirror } from './mirror.ts';
import { prepare } from './prepare.ts';
import { failureOf, type MirrorData, type MirrorOrder, type MirrorWord } from './protocol.ts';

/** Milliseconds between looks at what is new, and before the first repetition after a failure and the last. */
const [RECORDS, SAVED] = [5_000, 2_000];
const [SHORTEST, LONGEST] = [1_000, 60_000];
/** Repetitions at the end of what the store refuses. */
const REFUSALS = 3;

const { address, directory, resume, step, keep } = workerData as MirrorData;
const port = parentPort!;
const say = (word: MirrorWord): void => port.postMessage(word);
const place = addressOf(address);
const stopping = new AbortController();
let patience = Infinity;

/** Waits, and no longer where there is nothing more to come. */
const pause = (milliseconds: number): Promise<void> =>
  setTimeout(milliseconds, undefined, { signal: stopping.signal }).catch(() => undefined);

/** What the store is in trouble with, which is said once until it is over. */
let trouble: string | undefined;

function failed(error: unknown): void {
  const reason = reasonOf(error);
  const isNew = trouble === undefined;
  trouble = reason;
  if (!isNew) return;
  say({
    kind: 'warning',
    message:
      `${place} takes nothing (${reason}): training goes on, and what it writes is in ${directory} until the store ` +
      'answers again',
  });
}

function succeeded(): void {
  if (trouble !== undefined) say({ kind: 'warning', message: `${place} answers again` });
  trouble = undefined;
}

/** Does the same again and again, later where it fails, until nothing more comes or another machine has the run. */
async function repeat(work: () => Promise<void>, interval: number): Promise<void> {
  for (let failures = 0; !stopping.signal.aborted;) {
    try {
      await work();
      succeeded();
      failures = 0;
    } catch (error) {
      if (error instanceof LeaseLost) return;
      failed(error);
      failures += 1;
    }
    const later = Math.min(LONGEST, SHORTEST * 2 ** Math.min(10, failures - 1)) * (0.5 + Math.random() / 2);
    await pause(failures === 0 ? interval : later);
  }
}

/** Sends what is left, as long as anything of it arrives. */
async function sendRest(mirror: Mirror, store: ObjectStore): Promise<void> {
  let [answers, since, refusals] = [store.answers, performance.now(), 0];
  for (let wait = SHORTEST; ; wait = Math.min(5_000, 2 * wait)) {
    try {
      await mirror.sendRecords(true);
      await mirror.sendCheckpoints();
      // The session may have ended between two files.
      if (mirror.unsent().length === 0) {
        succeeded();
        return;
      }
    } catch (error) {
      if (error instanceof LeaseLost) return;
      failed(error);
      refusals += isTemporary(error) ? 0 : 1;
    }
    if (store.answers > answers) [answers, since] = [store.answers, performance.now()];
    if (performance.now() - since > patience || refusals >= REFUSALS) return;
    await setTimeout(wait);
  }
}

async function run(): Promise<void> {
  const store = await ObjectStore.open(address);
  const { promise: finishing, resolve: finish } = Promise.withResolvers<undefined>();
  const { promise: going, resolve: go } = Promise.withResolvers<undefined>();
  port.on('message', (order: MirrorOrder) => {
    if (order.kind === 'go') {
      go(undefined);
      return;
    }
    patience = order.patience;
    stopping.abort();
    finish(undefined);
  });
  const onWarning = (message: string): void => say({ kind: 'warning', message });
  const onProgress = (done: number, total: number): void => say({ kind: 'fetching', done, total });
  const { lease, session } = await prepare(store, directory, { resume, step, onWarning, onProgress }).catch(
    (error: unknown) => {
      throw store.explain(error);
    },
  );
  say({ kind: 'ready' });
  let isLost = false;
  const renewing = setInterval(() => {
    lease.renew().catch((error: unknown) => {
      if (error instanceof LeaseLost && !isLost) {
        isLost = true;
        onWarning(`${error.message}\n  Nothing more is sent; what this machine trains is in ${directory}.`);
      } else if (!isLost) failed(error);
    });
  }, RENEWAL);
  // A training that is over before it has begun has nothing to send.
  const isBegun = await Promise.race([going.then(() => true), finishing.then(() => false)]);
  const mirror = new Mirror({ store, lease, directory, session, keep });
  if (isBegun) {
    await Promise.race([
      Promise.all([repeat(() => mirror.sendRecords(), RECORDS), repeat(() => mirror.sendCheckpoints(), SAVED)]),
      finishing.then(() => setTimeout(Math.min(patience, LONGEST))),
    ]);
    await finishing;
    const counting = setInterval(() => say({ kind: 'sending', left: mirror.unsent().length }), 1_000);
    await sendRest(mirror, store);
    clearInterval(counting);
  }
  clearInterval(renewing);
  await lease.release().catch(() => undefined);
  say({ kind: 'finished', left: isBegun ? mirror.unsent() : [] });
}

run().catch((error: unknown) => say({ kind: 'failed', failure: failureOf(error) }));
