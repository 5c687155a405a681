/**
 * One machine at a time writes a run in a store: it holds `lease.json`, which it takes, renews and gives back by conditional
 * writes. A lease that was not renewed for two minutes, by the store's clock, is free.
 *
 * A machine that was cut off for as long looks again before it writes. What a condition cannot guard is the moment between
 * that look and the write that follows it: a process that is stopped right there, and goes on minutes later, may replace
 * objects of the one that took over. A store that knows no conditions is told by `isGuarded`.
 */
import { hostname } from 'node:os';
import { UserError } from '../errors.ts';
import { addressOf } from './address.ts';
import type { Content, ObjectStore } from './store.ts';

export const LEASE = 'lease.json';
/** Milliseconds between renewals, and after which a lease that was not renewed is free. */
export const [RENEWAL, LENGTH] = [30_000, 120_000];

/** What the object says. */
export interface Claim {
  /** Of the training that holds it, or held it last. */
  readonly session: string;
  readonly held: boolean;
  readonly host: string;
  readonly pid: number;
}

/** The lease as it is now; undefined where none was ever taken. */
export interface Found {
  readonly claim: Claim;
  readonly content: Content;
}

/** Another machine has taken the run over. */
export class LeaseLost extends UserError {}

export async function findLease(store: ObjectStore): Promise<Found | undefined> {
  const content = await store.read(LEASE);
  if (!content) return undefined;
  try {
    const claim = JSON.parse(content.body.toString()) as Claim;
    if (typeof claim.session === 'string' && typeof claim.held === 'boolean') return { claim, content };
  } catch {
    // Said below.
  }
  const where = `${addressOf(store.address)}/${LEASE}`;
  throw new UserError('is no lease of visurf', { where, remedy: 'Choose another output, or remove that object.' });
}

export class Lease {
  readonly #store: ObjectStore;
  readonly #session: string;
  #etag: string;
  #renewed = performance.now();
  #lost = false;
  /** False where the store takes every write, whatever its condition. */
  isGuarded = true;

  /**
   * Takes the lease as it was found.
   * @param own sessions of this machine that are known to be over
   * @returns undefined where somebody else was faster: it is to be looked at anew
   * @throws UserError where another machine holds it
   */
  static async take(
    store: ObjectStore,
    session: string,
    found: Found | undefined,
    own: readonly string[],
  ): Promise<Lease | undefined> {
    if (found?.claim.held && !own.includes(found.claim.session) && found.content.age < LENGTH) {
      const { host, pid } = found.claim;
      const seconds = Math.max(1, Math.ceil((LENGTH - found.content.age) / 1000));
      throw new UserError(`this run is in use by process ${pid} on ${host}`, {
        where: addressOf(store.address),
        remedy: `Wait for it or stop it. If it is gone, the run is free in ${seconds} s.`,
      });
    }
    const lease = new Lease(store, session);
    const etag = await store.write(LEASE, lease.#text(true), { onlyIf: found?.content.etag ?? 'absent' });
    // The answer to a write that succeeded may be lost, and the repetition then be refused.
    if (etag === undefined && !(await lease.#isStillOurs())) return undefined;
    if (etag !== undefined) lease.#etag = etag;
    const again = await store.write(LEASE, lease.#text(true), { onlyIf: 'absent' });
    if (again !== undefined) [lease.isGuarded, lease.#etag] = [false, again];
    return lease;
  }

  private constructor(store: ObjectStore, session: string) {
    [this.#store, this.#session, this.#etag] = [store, session, ''];
  }

  /** Before writing: renews it where it may have run out. @throws LeaseLost where another machine has taken it */
  async check(): Promise<void> {
    if (this.#lost) throw this.#gone();
    if (performance.now() - this.#renewed > RENEWAL) await this.renew();
  }

  async renew(): Promise<void> {
    await this.#write(true);
  }

  /** Gives it back. What it says of the session stays: by it a machine knows whether its own copy is the latest. */
  async release(): Promise<void> {
    if (!this.#lost) await this.#write(false);
  }

  async #write(held: boolean): Promise<void> {
    const begun = performance.now();
    const condition = this.isGuarded ? { onlyIf: this.#etag } : {};
    const etag = await this.#store.write(LEASE, this.#text(held), condition);
    if (etag !== undefined) this.#etag = etag;
    else if (!(await this.#isStillOurs())) {
      this.#lost = true;
      throw this.#gone();
    }
    this.#renewed = begun;
  }

  async #isStillOurs(): Promise<boolean> {
    const found = await findLease(this.#store);
    if (found?.claim.session !== this.#session) return false;
    this.#etag = found.content.etag;
    return true;
  }

  #gone(): LeaseLost {
    return new LeaseLost('another machine has taken this run over', {
      where: addressOf(this.#store.address),
      remedy: 'This one was cut off from the store for too long to be told from a dead one. Let the other go on.',
    });
  }

  #text(held: boolean): string {
    const claim: Claim = { session: this.#session, held, host: hostname(), pid: process.pid };
    return `${JSON.stringify(claim)}\n`;
  }
}
