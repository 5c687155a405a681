/** What a machine can do at best: what fractions are fractions of. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Level } from '../packages/torch/src/levels.ts';
import { environmentOf } from './level.ts';
import { multipliesInHalf, type Machine } from './machine.ts';

export interface Limits {
  /** Rate of a 1024^3 matrix product, in 10^9 floating-point operations per second; bfloat16 where the processor has it. */
  readonly gemm: { readonly float32: number; readonly bfloat16?: number };
  /** Reading memory that no cache holds, in 10^9 bytes per second. */
  readonly bandwidth: number;
}

export function measureLimits(threads: number, machine: Machine, level: Level): Limits {
  const set = { OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads) };
  const env = { ...process.env, ...set, ...environmentOf(level) };
  const command = [join(import.meta.dirname, 'probe.ts'), '--threads', String(threads)];
  if (multipliesInHalf(machine, level)) command.push('--half');
  return JSON.parse(execFileSync(process.execPath, command, { encoding: 'utf8', env })) as Limits;
}

/** The higher of each: the machine was less disturbed. */
export function bestLimits(a: Limits | undefined, b: Limits): Limits {
  if (!a) return b;
  const half = Math.max(a.gemm.bfloat16 ?? 0, b.gemm.bfloat16 ?? 0);
  return {
    gemm: { float32: Math.max(a.gemm.float32, b.gemm.float32), ...(half > 0 && { bfloat16: half }) },
    bandwidth: Math.max(a.bandwidth, b.bandwidth),
  };
}
