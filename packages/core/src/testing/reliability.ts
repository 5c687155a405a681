/**
 * How hard promises are tried: a little in every test run, for hours by `make reliability`, which keeps the counts for
 * docs/reliability.md.
 */
import { appendFileSync } from 'node:fs';

const { VISURF_RELIABILITY: results, VISURF_RELIABILITY_SHARE: share = '1' } = process.env;

/** A number that is one in tests and another in the long trials. */
export const inTrials = <T>(short: T, long: T): T => (results === undefined ? short : long);

/** Repetitions: the first number in tests, the second, or a share of it, in the long trials. */
export const budget = (short: number, long: number): number =>
  inTrials(short, Math.max(short, Math.round(Number(share) * long)));

export interface Trial {
  /** A sentence: what holds. */
  readonly promise: string;
  /** The test file, from the root of the repository. */
  readonly test: string;
  readonly count: number;
  /** What is counted, in the plural: `crash points`. */
  readonly of: string;
  /** The slowest of them, in milliseconds. */
  readonly worst?: number | undefined;
  /** The largest memory of a process that was tried, in bytes. */
  readonly memory?: number | undefined;
}

/** Keeps what a trial that held has counted. */
export function held(trial: Trial): void {
  if (results !== undefined) appendFileSync(results, `${JSON.stringify(trial)}\n`);
}

/** Mulberry32: numbers of 0..1, the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
