/** How time grows with the size of what is read: measured against itself, so that it is the same on every machine. */

/** Milliseconds below which two times are not compared: what is quadratic takes longer for ten thousands of characters. */
const SHORT = 30;
/** How many times larger the larger of two sizes is: so far apart that a disturbed time is not taken for another order. */
const SPAN = 8;
/** A machine that does other things beside only ever adds to a time: the shortest of so many is closest to the work's own. */
const REPETITIONS = 3;
const ATTEMPTS = 3;

/** What lies between linear and quadratic. */
export const SUPERLINEAR = 1.5;

/** Milliseconds of the processor. */
function spent(work: () => void): number {
  const start = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

/**
 * The exponent with which the time of work grows: 1 where it is linear, 2 where it is quadratic, 0 where it is too short to
 * tell. What is more than `SUPERLINEAR` is measured again, and has been so every time.
 * @param work is never given the same size twice, since it may remember
 * @param size the largest
 */
export function orderOf(work: (size: number) => void, size: number): number {
  if (spent(() => work(size)) < SHORT) return 0;
  let [small, large, order] = [Infinity, Infinity, Infinity];
  for (let i = 1; i <= REPETITIONS * ATTEMPTS && (i <= REPETITIONS || order > SUPERLINEAR); i++) {
    small = Math.min(
      small,
      spent(() => work(Math.floor(size / SPAN) + 8 * i)),
    );
    large = Math.min(
      large,
      spent(() => work(size + 64 * i)),
    );
    order = Math.log(large / small) / Math.log(SPAN);
  }
  return order;
}
