/** How time grows with the size of what is read: measured against itself, so that it is the same on every machine. */

/** Milliseconds below which two times are not compared: what is quadratic takes longer for ten thousands of characters. */
const SHORT = 30;
const REPETITIONS = 3;
/** A machine that does other things beside may spoil one measurement. */
const ATTEMPTS = 3;

/** Milliseconds of the processor. */
function spent(work: () => void): number {
  const start = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

/**
 * How many times longer work of twice the size takes: 2 where it is linear, 4 where it is quadratic, 0 where it is too short
 * to tell.
 * @param work is never given the same size twice, since it may remember
 * @param most what is more is measured again
 */
export function growth(work: (size: number) => void, size: number, most: number): number {
  let least = spent(() => work(2 * size)) < SHORT ? 0 : Infinity;
  for (let attempt = 0; attempt < ATTEMPTS && least > most; attempt++) {
    const sizes = Array.from({ length: REPETITIONS }, (_, i) => size + 64 * (1 + i + attempt * REPETITIONS));
    const pairs = sizes.map((each) => [spent(() => work(each)), spent(() => work(2 * each))] as const);
    least = Math.min(least, median(pairs.map(([, twice]) => twice)) / median(pairs.map(([once]) => once)));
  }
  return least;
}
