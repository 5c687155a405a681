/** What is measured: the model's shape, the prompts, the number of tokens. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ComparisonId } from './comparisons.ts';

export type Precision = 'float32' | 'bfloat16';

export interface WorkloadSample {
  readonly image: string;
  readonly problem: string;
}

/** Written as JSON for the child processes. */
export interface Workload {
  readonly model: string;
  /** Those of one step; every step has the same. */
  readonly samples: readonly WorkloadSample[];
  readonly group: number;
  /** Length of every rollout: stopping is off. */
  readonly maxNewTokens: number;
  /** Prompts whose activations we hold at once. */
  readonly microBatchPrompts: number;
}

/** How many sequences TRL holds at once: what fits, of the numbers that divide the batch. */
export interface PeerSequences {
  readonly float32: number;
  readonly bfloat16: number;
  readonly tuned: number;
}

export interface Shape {
  readonly title: string;
  /** Its description in mini_model.py. */
  readonly model: 'a' | 'b' | 'c';
  readonly problem: string;
  /** Pixels; a token is 28 x 28 of them. */
  readonly image: { readonly width: number; readonly height: number };
  readonly promptsPerStep: number;
  readonly group: number;
  readonly maxNewTokens: number;
  readonly microBatchPrompts: number;
  readonly peerSequences: PeerSequences;
  /** Steps before those that count, and those that count. */
  readonly warmup: number;
  readonly repeats: number;
  readonly comparisons: readonly ComparisonId[];
}

const inFloat32: readonly ComparisonId[] = ['step', 'label', 'rollouts', 'sft'];
const inBoth: readonly ComparisonId[] = [...inFloat32, 'step-bfloat16', 'step-tuned', 'rollouts-bfloat16'];

export const SHAPES: Readonly<Record<string, Shape>> = {
  a: {
    title: "The demo's model: 1.5 million parameters, 16 image tokens",
    model: 'a',
    problem: 'find the red circle in the',
    image: { width: 112, height: 112 },
    promptsPerStep: 16,
    group: 8,
    maxNewTokens: 24,
    microBatchPrompts: 4,
    peerSequences: { float32: 128, bfloat16: 128, tuned: 128 },
    warmup: 2,
    repeats: 7,
    comparisons: [...inFloat32, 'step-allocator'],
  },
  b: {
    title: '61 million parameters, 300 image tokens',
    model: 'b',
    problem: 'find the red circle in the',
    image: { width: 560, height: 420 },
    promptsPerStep: 2,
    group: 8,
    maxNewTokens: 128,
    microBatchPrompts: 1,
    peerSequences: { float32: 16, bfloat16: 16, tuned: 16 },
    warmup: 1,
    repeats: 3,
    comparisons: inBoth,
  },
  c: {
    title: "302 million parameters in Qwen2.5-VL's proportions, 1,000 image tokens",
    model: 'c',
    problem: 'find the red circle in the',
    image: { width: 1120, height: 700 },
    promptsPerStep: 1,
    group: 8,
    maxNewTokens: 64,
    microBatchPrompts: 1,
    peerSequences: { float32: 1, bfloat16: 1, tuned: 1 },
    // A step of TRL takes minutes: what is done only once does not show.
    warmup: 0,
    repeats: 2,
    comparisons: inBoth,
  },
};

/** Workloads whose rollouts are compared with vLLM's, in an environment and in results of their own. */
export const withVllm = { workloads: ['a', 'b'], comparisons: ['vllm', 'vllm-bfloat16'] } as const;

/** Patches of an image, [time, height, width]: 14 pixels each. */
export const gridOf = ({ width, height }: Shape['image']): [number, number, number] => [1, height / 14, width / 14];

const here = import.meta.dirname;
export const python = join(here, '..', 'oracle', 'python.sh');
export const vllm = join(here, 'vllm.sh');

export interface Prepared {
  readonly file: string;
  readonly workload: Workload;
}

/**
 * Makes model and images (random weights in the workload's shape) unless they are there.
 * @param variant part of the names of files that differ between workloads of the same model
 */
export function prepare(shape: Shape, folder: string, variant = 'workload'): Prepared {
  const { model, problem, promptsPerStep, group, maxNewTokens, microBatchPrompts } = shape;
  const { width, height } = shape.image;
  const place = join(folder, model);
  mkdirSync(place, { recursive: true });
  const names = Array.from({ length: promptsPerStep }, (_, i) => `${width}x${height}-${String(i).padStart(2, '0')}`);
  const images = names.map((name) => join(place, 'images', `${name}.png`));
  const maker = join(here, 'mini_model.py');
  const stamp = join(place, `made-${createHash('sha256').update(readFileSync(maker)).digest('hex').slice(0, 12)}`);
  if (![stamp, ...images].every((file) => existsSync(file))) {
    const wanted = names.flatMap((name) => ['--image', name, String(width), String(height)]);
    execFileSync(python, [maker, place, model, ...wanted], { stdio: ['ignore', 'ignore', 'inherit'] });
    writeFileSync(stamp, '');
  }
  const samples = images.map((image) => ({ image, problem }));
  const workload = { model: join(place, 'model'), samples, group, maxNewTokens, microBatchPrompts };
  return { file: writeWorkload(join(place, `${variant}.json`), workload), workload };
}

/** The workload without this machine's paths. */
export const sizes = ({ samples, group, maxNewTokens, microBatchPrompts }: Workload) => ({
  prompts: samples.length,
  group,
  maxNewTokens,
  microBatchPrompts,
});

export function writeWorkload(file: string, workload: Workload): string {
  writeFileSync(file, JSON.stringify(workload, undefined, 1));
  return file;
}

export const readWorkload = (file: string): Workload => JSON.parse(readFileSync(file, 'utf8')) as Workload;
