/** What this machine offers to training, measured rather than read off. */

import { cards, functional, info, machineLevels, noGrad, ones, scope, tensor } from '@visurf/torch';
import type { Cards, FloatDType, Level, TorchInfo } from '@visurf/torch';

export interface Machine {
  readonly torch: TorchInfo;
  /** NVIDIA's, by the word of their driver. */
  readonly cards: Cards;
  /** The library in use; undefined where the platform does not tell. */
  readonly libtorchPath: string | undefined;
  /** Rate of a 1024^3 matrix product on the CPU, in 10^9 floating-point operations per second. */
  readonly gemm: { readonly float32: number; readonly bfloat16: number };
  /** Rate of our attention kernel in the same unit, and the instruction sets that it could run at, the widest last. */
  readonly kernels: { readonly float32: number; readonly levels: readonly Level[] };
}

export function probeMachine(): Machine {
  const slow = slowHalf();
  return {
    torch: info(),
    cards: cards(),
    libtorchPath: loadedLibrary(/\/libtorch_cpu\.(so|dylib)/),
    gemm: { float32: productRate('float32', 1024), bfloat16: slow?.bfloat16 ?? productRate('bfloat16', 1024) },
    kernels: { float32: attentionRate(), levels: machineLevels() },
  };
}

/** Rates of float32 and bfloat16 where the latter is far behind: no instruction multiplies it, so it is emulated. */
function slowHalf(): { float32: number; bfloat16: number } | undefined {
  const [float32, bfloat16] = [productRate('float32', 32), productRate('bfloat16', 32)];
  return bfloat16 < float32 / 4 ? { float32, bfloat16 } : undefined;
}

/** Why a precision is a bad choice on this machine, and what to do; undefined where it is none. */
export function precisionWarning(precision: string, device: string): string | undefined {
  const slow = precision === 'bfloat16' && device === 'cpu' ? slowHalf() : undefined;
  if (!slow) return undefined;
  const times = Math.round(slow.float32 / slow.bfloat16);
  return (
    `bfloat16 is ${times} times slower than float32 here: this processor, or what libtorch may use of it, has neither ` +
    'AVX512-BF16 nor AMX: set precision: float32'
  );
}

/** Rate of our packed attention (forward), in 10^9 floating-point operations per second. */
function attentionRate(): number {
  const [prefix, responses, tokens, heads, size] = [256, 4, 64, 8, 64];
  const pairs = (prefix * (prefix + 1)) / 2 + responses * tokens * (prefix + (tokens + 1) / 2);
  return scope(() =>
    noGrad(() => {
      const x = ones([1, prefix + responses * tokens, heads, size], { device: 'cpu' });
      const attend = () => functional.packedAttention([x, x, x], [prefix], responses, tokens).dispose();
      return (4 * pairs * heads * size) / (fastest(attend) * 1e6);
    }),
  );
}

/** Milliseconds of the fastest of some calls. */
function fastest(body: () => void): number {
  let best = Infinity;
  for (let round = 0; round < 4; round++) {
    const [start, used] = [performance.now(), process.cpuUsage()];
    body();
    const { user, system } = process.cpuUsage(used);
    const whole = performance.now() - start;
    // Other programs take turns with this one: what it used itself is the better figure then, but for short calls, which
    // a processor's clock may not see.
    best = Math.min(best, whole, whole > 8 ? (user + system) / 1000 / info().threads : Infinity);
  }
  return best;
}

/** Rate of a layer's product of [rows, 1024] and [1024, 1024], in 10^9 floating-point operations per second. */
export function productRate(dtype: FloatDType, rows: number): number {
  const size = 1024;
  return scope(() =>
    noGrad(() => {
      const values = Float32Array.from({ length: size * size }, (_, i) => (i % 7) - 3);
      const matrix = tensor(values, { shape: [size, size], device: 'cpu' }).to(dtype);
      const [left, right] = [matrix.narrow(0, 0, rows), matrix.t()];
      return (2 * rows * size ** 2) / (fastest(() => functional.linear(left, right).dispose()) * 1e6);
    }),
  );
}

/** Seconds of a small operator, of the fastest hundred. */
export function callSeconds(): number {
  return scope(() => {
    const x = ones([64, 64], { device: 'cpu' });
    const [rounds, calls] = [50, 100];
    let best = Infinity;
    for (let round = 0; round < rounds; round++) {
      const start = performance.now();
      for (let i = 0; i < calls; i++) x.add(x).dispose();
      best = Math.min(best, performance.now() - start);
    }
    return best / calls / 1000;
  });
}

/** Seconds for a byte that an operator reads or writes, of tensors that no cache holds. */
export function byteSeconds(): number {
  const elements = 1 << 23;
  return scope(() =>
    noGrad(() => {
      const [sum, x] = [ones([elements], { device: 'cpu' }), ones([elements], { device: 'cpu' })];
      return fastest(() => sum.add_(x)) / 1000 / (3 * 4 * elements);
    }),
  );
}

/** What something measures again and again for so many milliseconds: once is often interrupted where others are at work. */
export function repeated(milliseconds: number, measure: () => number): number[] {
  const found: number[] = [];
  for (const until = performance.now() + milliseconds; found.length === 0 || performance.now() < until;)
    found.push(measure());
  return found;
}

/** Path of a shared library of this process. */
function loadedLibrary(name: RegExp): string | undefined {
  const { sharedObjects } = process.report.getReport() as { sharedObjects: string[] };
  return sharedObjects.find((path) => name.test(path));
}
