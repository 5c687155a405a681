/**
 * What this machine can do at best, with the threads of the measurement: node bench/probe.ts --threads N [--half],
 * one line of JSON. A process of its own, so that it leaves neither threads nor memory behind.
 */
import { parseArgs } from 'node:util';
import { noGrad, ones, scope, setNumThreads } from '../packages/torch/src/index.ts';
import { productRate } from '../packages/core/src/machine.ts';
import type { Limits } from './limits.ts';

/** The best of several sums over 512 MB. */
function readingRate(): number {
  const elements = 1 << 27;
  return scope(() =>
    noGrad(() => {
      const values = ones([elements]);
      const runs = Array.from({ length: 5 }, () => {
        const start = performance.now();
        values.sum().dispose();
        return performance.now() - start;
      });
      return (4 * elements) / (Math.min(...runs) * 1e6);
    }),
  );
}

const { values } = parseArgs({
  options: { threads: { type: 'string', default: '1' }, half: { type: 'boolean', default: false } },
});
setNumThreads(Number(values.threads));
const rate = (dtype: 'float32' | 'bfloat16'): number => Math.max(productRate(dtype, 1024), productRate(dtype, 1024));
const limits: Limits = {
  gemm: { float32: rate('float32'), ...(values.half && { bfloat16: rate('bfloat16') }) },
  bandwidth: readingRate(),
};
const tidy = (_: string, value: unknown): unknown => (typeof value === 'number' ? Math.round(value * 10) / 10 : value);
console.log(JSON.stringify(limits, tidy));
