/** What a figure depends on beside the program. */
import { readFileSync } from 'node:fs';
import type { Level } from '../packages/torch/src/levels.ts';
import { availableParallelism, loadavg, release, totalmem } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** Instruction sets that matter to matrix products. */
  readonly features: readonly string[];
  readonly memoryGb: number;
  readonly kernel: string;
  readonly node: string;
  /** Running programs per core before the measurement began; much above 0: others were at work, figures are noisy. */
  readonly load: number;
}

export function describeMachine(): Machine {
  const cpuinfo = readFileSync('/proc/cpuinfo', 'utf8');
  const field = (name: string): string => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(cpuinfo)?.[1] ?? 'unknown';
  const flags = new Set(field('flags').split(' '));
  const cores = availableParallelism();
  return {
    cpu: `${field('model name')} (${field('vendor_id')} family ${field('cpu family')} model ${field('model')})`,
    cores,
    features: ['avx2', 'avx512f', 'avx512_bf16', 'amx_bf16'].filter((name) => flags.has(name)),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    load: Number((loadavg()[0]! / cores).toFixed(2)),
  };
}

/** Without such instructions a bfloat16 product takes a hundred times as long as a float32 one. */
export const multipliesInHalf = ({ features }: Machine, level: Level): boolean =>
  level === 'avx512' && features.some((feature) => feature === 'avx512_bf16' || feature === 'amx_bf16');
