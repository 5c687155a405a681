/** What is measured: the model's shape, the prompts, the number of tokens. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface WorkloadSample {
  readonly image: string;
  readonly problem: string;
}

/** Written as JSON for the child processes. */
export interface Workload {
  readonly model: string;
  readonly samples: readonly WorkloadSample[];
  readonly group: number;
  readonly promptsPerStep: number;
  /** Of every rollout: stopping is off. */
  readonly maxNewTokens: number;
  /** Cuts of the peer's batch (gradient accumulation). */
  readonly microBatches: number;
  /** Prompts whose activations we hold at once. */
  readonly microBatchPrompts: number;
  /** How often the samples may be gone through in one run. */
  readonly repeats: number;
}

interface Shape extends Omit<Workload, 'model' | 'samples' | 'repeats'> {
  readonly title: string;
  readonly problem: string;
}

export const SHAPES: Readonly<Record<string, Shape>> = {
  a: {
    title: "The demo's model: 1.5 million parameters, 112 x 112 px",
    problem: 'find the red circle in the',
    group: 8,
    promptsPerStep: 16,
    maxNewTokens: 24,
    microBatches: 1,
    microBatchPrompts: 4,
  },
};

const here = import.meta.dirname;
export const python = join(here, '..', 'oracle', 'python.sh');

/** Makes model and images (random weights in the workload's shape) unless they are there; returns the workload's file. */
export function prepare(name: string, folder: string): { readonly file: string; readonly workload: Workload } {
  const shape = SHAPES[name];
  if (shape === undefined) throw new Error(`no workload ${name}; there are ${Object.keys(SHAPES).join(', ')}`);
  const place = join(folder, name);
  mkdirSync(place, { recursive: true });
  if (!existsSync(join(place, 'model', 'tokenizer.json'))) {
    execFileSync(python, [join(here, 'mini_model.py'), place, name], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  const { title: _, problem, ...sizes } = shape;
  const images = readdirSync(join(place, 'images')).sort();
  const samples = images.map((image) => ({ image: join(place, 'images', image), problem }));
  const workload = { ...sizes, model: join(place, 'model'), samples, repeats: 200 };
  const file = join(place, 'workload.json');
  writeFileSync(file, JSON.stringify(workload, undefined, 1));
  return { file, workload };
}

/** A few tokens of the committed tiny model: no Python, a second. */
export function prepareSmoke(folder: string): { readonly file: string; readonly workload: Workload } {
  const fixtures = join(here, '..', 'oracle', 'fixtures');
  const sample = (image: string): WorkloadSample => ({
    image: join(fixtures, 'images', image),
    problem: 'where is it?',
  });
  const workload: Workload = {
    model: join(fixtures, 'tiny-qwen2_5-vl', 'model'),
    samples: [sample('small-40x40.png'), sample('flat-90x60.png')],
    group: 4,
    promptsPerStep: 2,
    maxNewTokens: 6,
    microBatches: 1,
    microBatchPrompts: 1,
    repeats: 1,
  };
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'workload.json');
  writeFileSync(file, JSON.stringify(workload, undefined, 1));
  return { file, workload };
}

export const readWorkload = (file: string): Workload => JSON.parse(readFileSync(file, 'utf8')) as Workload;
