/** What this machine offers to training, measured rather than read off. */

import { info, noGrad, scope, tensor } from '@visurf/torch';
import type { TorchInfo } from '@visurf/torch';

export interface Machine {
  readonly torch: TorchInfo;
  /** The library in use; undefined where the platform does not tell. */
  readonly libtorchPath: string | undefined;
  /** Rate of a 1024^3 matrix product on the CPU, in 10^9 floating-point operations per second. */
  readonly gemm: { readonly float32: number; readonly bfloat16: number };
}

export function probeMachine(): Machine {
  return {
    torch: info(),
    libtorchPath: loadedLibrary(/\/libtorch_cpu\.(so|dylib)/),
    gemm: { float32: gemmRate('float32'), bfloat16: gemmRate('bfloat16') },
  };
}

const gemmRate = (dtype: 'float32' | 'bfloat16'): number => productRate(dtype, 1024);

/** Rate of a product of [rows, 1024] and [1024, 1024], in 10^9 floating-point operations per second. */
export function productRate(dtype: 'float32' | 'bfloat16', rows: number): number {
  const size = 1024;
  return scope(() =>
    noGrad(() => {
      const values = Float32Array.from({ length: size * size }, (_, i) => (i % 7) - 3);
      const matrix = tensor(values, { shape: [size, size] }).to(dtype);
      const left = matrix.narrow(0, 0, rows);
      let best = Infinity;
      for (let round = 0; round < 4; round++) {
        const [start, used] = [performance.now(), process.cpuUsage()];
        left.matmul(matrix).dispose();
        const { user, system } = process.cpuUsage(used);
        // Other programs take turns with this one: what it used itself is the better figure then.
        best = Math.min(best, performance.now() - start, (user + system) / 1000 / info().threads);
      }
      return (2 * rows * size ** 2) / (best * 1e6);
    }),
  );
}

/** Path of a shared library of this process. */
function loadedLibrary(name: RegExp): string | undefined {
  const { sharedObjects } = process.report.getReport() as { sharedObjects: string[] };
  return sharedObjects.find((path) => name.test(path));
}
