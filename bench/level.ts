/**
 * The instruction set that a measurement is held to. A laptop multiplies with AVX2, a server with AVX512, and a figure
 * of one says little about the other; so both can be measured on a machine that has both.
 */
import { machineLevels, type Level } from '../packages/torch/src/levels.ts';
import type { Machine } from './machine.ts';

/** Every program of a comparison gets these, ours and peers alike; `undefined` takes away what the shell had set. */
type Environment = Readonly<Record<string, string | undefined>>;

/**
 * What libtorch's libraries call the levels. MKL takes instructions from its variable on processors of Intel alone, and
 * multiplies with AVX2 on others; `COMPATIBLE` is SSE2 on all. At the highest level nothing is held back: AVX512_CORE
 * would take away products in bfloat16.
 */
const libraries: Readonly<Record<Level, Environment>> = {
  default: { MKL_CBWR: 'COMPATIBLE', MKL_ENABLE_INSTRUCTIONS: undefined, ONEDNN_MAX_CPU_ISA: 'SSE41' },
  avx2: { MKL_CBWR: undefined, MKL_ENABLE_INSTRUCTIONS: 'AVX2', ONEDNN_MAX_CPU_ISA: 'AVX2' },
  avx512: { MKL_CBWR: undefined, MKL_ENABLE_INSTRUCTIONS: undefined, ONEDNN_MAX_CPU_ISA: undefined },
};

export const environmentOf = (level: Level): Environment => ({ ...libraries[level], ATEN_CPU_CAPABILITY: level });

/** The levels in the order of the page: first what most readers have. */
export const LEVELS: readonly Level[] = ['avx2', 'avx512', 'default'];

export const titles: Readonly<Record<Level, string>> = { avx2: 'AVX2', avx512: 'AVX512', default: 'SSE2' };

const isLevel = (name: string): name is Level => (LEVELS as readonly string[]).includes(name);

/** @param wanted by the user; unset: the widest of this machine */
export function chosenLevel(
  wanted = process.env.LEVEL ?? process.env.ATEN_CPU_CAPABILITY,
  there = machineLevels(),
): Level {
  if (wanted === undefined || wanted === '') return there.at(-1)!;
  if (!isLevel(wanted)) throw new Error(`no level ${wanted}; there are ${LEVELS.join(', ')}`);
  if (!there.includes(wanted)) throw new Error(`this machine has no ${titles[wanted]}; it has ${there.join(', ')}`);
  return wanted;
}

/** A machine that has more than the level: close to true silicon of that level, not the same. */
export const isHeld = (level: Level, { features }: Machine): boolean =>
  level === 'avx2' ? features.includes('avx512f') : level === 'default' && features.includes('avx2');

/**
 * @param said what a program runs at; unset where it does not say
 */
export function checkLevel(program: string, said: string | undefined, level: Level): void {
  if (said === undefined || said.toLowerCase() === level) return;
  throw new Error(`${program} runs at ${said}, not at ${level}`);
}

/** Where the results of a workload at a level are, and which ones a file has. */
export const fileOf = (workload: string, level: Level): string => `${workload}.${level}.json`;

export function levelOf(file: string): Level {
  const level = /\.([a-z0-9]+)\.json$/.exec(file)?.[1] ?? '';
  if (!isLevel(level)) throw new Error(`${file} does not say its level, as in a.avx2.json`);
  return level;
}
