/** The instruction sets that libtorch's kernels and ours are compiled for, as `ATEN_CPU_CAPABILITY` names them. */
import { readFileSync } from 'node:fs';

export type Level = 'default' | 'avx2' | 'avx512';

/** What a level needs of a processor, in the words of /proc/cpuinfo. */
const needed: Readonly<Record<Level, readonly string[]>> = {
  default: [],
  avx2: ['avx2', 'fma'],
  avx512: ['avx2', 'fma', 'avx512f', 'avx512dq', 'avx512bw', 'avx512vl'],
};

/** Those of this machine, the widest last. `ATEN_CPU_CAPABILITY` is not checked by libtorch: more would end in SIGILL. */
export function machineLevels(): Level[] {
  const flags =
    process.arch === 'x64' ? /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] : undefined;
  const present = new Set(flags?.split(' '));
  return (Object.keys(needed) as Level[]).filter((level) => needed[level].every((flag) => present.has(flag)));
}
