/** What runs against what. Every comparison has two programs, so that no more than two models are in memory. */
import { join } from 'node:path';
import type { Level } from '../packages/torch/src/levels.ts';
import { multipliesInHalf, type Machine } from './machine.ts';
import type { Program } from './measure.ts';
import { python, vllm, type Precision, type Shape } from './workloads.ts';

export type ComparisonId =
  | 'step'
  | 'step-allocator'
  | 'step-bfloat16'
  | 'step-tuned'
  | 'label'
  | 'rollouts'
  | 'rollouts-bfloat16'
  | 'vllm'
  | 'vllm-bfloat16'
  | 'sft';

/** Ours, and what it is compared with. */
export interface Comparison<T> {
  readonly id: ComparisonId;
  readonly title: string;
  readonly precision: Precision;
  readonly ours: T;
  readonly peer: T;
}

const here = import.meta.dirname;

/** What our addon sets for itself: freed buffers are kept for the next tensor. */
export const tunedAllocator = {
  MALLOC_MMAP_THRESHOLD_: String(1 << 30),
  MALLOC_TRIM_THRESHOLD_: String(1 << 30),
  MALLOC_TOP_PAD_: String(64 << 20),
};

export function comparisons(file: string, threads: number, shape?: Shape): Comparison<Program>[] {
  const common = ['--workload', file, '--threads', String(threads)];
  const ours = (kind: string, precision: Precision): Program => ({
    name: `visurf ${kind}`,
    command: [process.execPath, join(here, 'ours.ts'), '--kind', kind, '--precision', precision, ...common],
  });
  const peer = (name: string, script: string, precision: Precision, ...extra: string[]): Program => ({
    name,
    command: [python, join(here, script), ...common, '--precision', precision, ...extra],
  });
  const trl = (name: string, precision: Precision, sequences = 1, ...extra: string[]): Program =>
    peer(name, 'peer_trl.py', precision, '--sequences', String(sequences), ...extra);
  const fits = shape?.peerSequences;
  const tuned = (precision: Precision): Program => ({
    ...trl('TRL, tuned', precision, fits?.tuned, '--tuned'),
    env: tunedAllocator,
  });
  const engine = (precision: Precision): Program => ({
    name: 'vLLM',
    command: [vllm, join(here, 'peer_vllm.py'), ...common, '--precision', precision],
    env: tunedAllocator,
  });
  const [single, half] = ['float32', 'bfloat16'] as const;
  return [
    {
      id: 'step',
      title: 'RLVR step, float32, against TRL',
      precision: single,
      ours: ours('rlvr', single),
      peer: trl('TRL', single, fits?.float32),
    },
    {
      id: 'step-allocator',
      title: 'RLVR step, float32, against TRL patched and tuned by us',
      precision: single,
      ours: ours('rlvr', single),
      peer: tuned(single),
    },
    {
      id: 'step-bfloat16',
      title: "RLVR step, bfloat16, against TRL's default precision, bfloat16 autocast",
      precision: half,
      ours: ours('rlvr', half),
      peer: trl('TRL', half, fits?.bfloat16),
    },
    {
      id: 'step-tuned',
      title: 'RLVR step, bfloat16, against TRL patched and tuned by us',
      precision: half,
      ours: ours('rlvr', half),
      peer: tuned(half),
    },
    {
      id: 'label',
      title: 'ViSurf step against our own RLVR step, float32',
      precision: single,
      ours: ours('visurf', single),
      peer: ours('rlvr', single),
    },
    {
      id: 'rollouts',
      title: "Rollouts, float32, against transformers' generate",
      precision: single,
      ours: ours('rollouts', single),
      peer: peer('transformers', 'peer_generate.py', single),
    },
    {
      id: 'rollouts-bfloat16',
      title: "Rollouts, bfloat16, against transformers' generate in bfloat16",
      precision: half,
      ours: ours('rollouts', half),
      peer: peer('transformers', 'peer_generate.py', half),
    },
    {
      id: 'vllm',
      title: 'Rollouts, float32, against vLLM for CPUs',
      precision: single,
      ours: ours('rollouts', single),
      peer: engine(single),
    },
    {
      id: 'vllm-bfloat16',
      title: 'Rollouts, bfloat16, against vLLM for CPUs in bfloat16',
      precision: half,
      ours: ours('rollouts', half),
      peer: engine(half),
    },
    {
      id: 'sft',
      title: 'SFT step, float32, against a PyTorch loop',
      precision: single,
      ours: ours('sft', single),
      peer: peer('PyTorch', 'peer_sft.py', single),
    },
  ];
}

/** Those of a workload that this machine can run at a level. */
export const chosen = <T>(
  all: readonly Comparison<T>[],
  ids: readonly ComparisonId[],
  machine: Machine,
  level: Level,
): Comparison<T>[] =>
  all.filter(({ id, precision }) => ids.includes(id) && (precision === 'float32' || multipliesInHalf(machine, level)));
