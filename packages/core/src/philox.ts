/**
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11): random numbers as a function of
 * a counter and a key. What is drawn so (a rollout's noise, dropout) does not depend on batching or on the number of
 * processes.
 */

type Quad = readonly [number, number, number, number];

/** High 32 bits of the product of two unsigned 32-bit integers, in integers throughout: it runs for every token. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const cross = (Math.imul(aLow, bHigh) + (middle & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (cross >>> 16)) | 0;
}

/** Four unsigned 32-bit words for a counter of four words and a key of two. */
export function philox(counter: Quad, key: readonly [number, number]): Quad {
  let [c0, c1, c2, c3] = [counter[0] | 0, counter[1] | 0, counter[2] | 0, counter[3] | 0];
  let [k0, k1] = [key[0] | 0, key[1] | 0];
  for (let round = 0; round < 10; round++) {
    const even = c0;
    const odd = c2;
    c0 = multiplyHigh(0xcd9e8d57, odd) ^ c1 ^ k0;
    c1 = Math.imul(0xcd9e8d57, odd);
    c2 = multiplyHigh(0xd2511f53, even) ^ c3 ^ k1;
    c3 = Math.imul(0xd2511f53, even);
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** Which random number: all non-negative integers below 2^32, the seed below 2^53. */
export interface NoiseKey {
  readonly seed: number;
  readonly step: number;
  readonly prompt: number;
  readonly member: number;
}

/** Uniform in [0, 1) with 53 bits, for the token at `position` of a rollout. */
export function uniform({ seed, step, prompt, member }: NoiseKey, position: number): number {
  const [high, low] = philox([step, prompt, member, position], [seed >>> 0, Math.floor(seed / 0x100000000) >>> 0]);
  return ((high >>> 5) * 0x4000000 + (low >>> 6)) / 0x20000000000000;
}
