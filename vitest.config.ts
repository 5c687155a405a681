import { defineConfig } from 'vitest/config';
import { machineLevels } from './packages/torch/src/levels.ts';

/** Native threads per worker: tests run beside each other, and small matrices gain nothing from more. */
process.env.OMP_NUM_THREADS ??= '1';
process.env.MKL_NUM_THREADS ??= '1';

const kernels = 'packages/torch/src/kernels.test.ts';

const shared = {
  pool: 'forks',
  maxWorkers: 2,
  testTimeout: 60_000,
  hookTimeout: 60_000,
} as const;

export default defineConfig({
  test: {
    ...shared,
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: [
            'packages/*/src/**/*.test.ts',
            'recipes/*/{src,tests}/**/*.test.ts',
            'tests/*.test.ts',
            'bench/*.test.ts',
          ],
          exclude: [kernels],
        },
      },
      // libtorch chooses its instruction set once per process.
      ...machineLevels().map((level) => ({
        test: { ...shared, name: `kernels-${level}`, include: [kernels], env: { ATEN_CPU_CAPABILITY: level } },
      })),
      {
        test: { ...shared, name: 'e2e', include: ['packages/*/tests/**/*.test.ts'], testTimeout: 300_000 },
      },
    ],
  },
});
