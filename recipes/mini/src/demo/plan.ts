/** What the demo does, at which size, and how long it should take. */
import { fileURLToPath } from 'node:url';

import type { Split } from './dataset.ts';
import type { Stage } from './eta.ts';

/** The pretrained checkpoint, in Hugging Face layout. */
export const BASE_MODEL = fileURLToPath(new URL('../base', import.meta.url));
export const CONFIG = fileURLToPath(new URL('../config.yaml', import.meta.url));

/** The paradigms compared, in the order of training; names as in the table, directories as in the output. */
export const RUNS = [
  { name: 'RLVR', directory: 'rlvr', paradigm: 'rlvr' },
  { name: 'ViSurf', directory: 'visurf', paradigm: 'visurf' },
] as const;

export interface Size {
  /** Each has two questions. */
  readonly images: Readonly<Record<Split, number>>;
  /** Changes to the recipe's configuration. */
  readonly changes: readonly string[];
}

export const FULL: Size = { images: { train: 2000, validation: 50, test: 400 }, changes: [] };

export const QUICK: Size = {
  images: { train: 640, validation: 25, test: 100 },
  changes: ['steps=40', 'optimizer.warmupSteps=5', 'eval.every=10'],
};

/** Seconds on two cores of the machine that the demo was made on. */
const PER_IMAGE = 0.005;
const PER_ANSWER = 0.01;
const PER_UPDATE = { rlvr: 0.5, visurf: 0.8 } as const;

export const questions = (size: Size, split: Split): number => 2 * size.images[split];
export const imagesOf = ({ images }: Size): number => images.train + images.validation + images.test;

/** The parts of the demo, in order. */
export function stagesOf(size: Size, steps: number): Stage[] {
  const images = imagesOf(size);
  const evaluation = (policy: string, units: number): Stage => ({
    ...{ name: `evaluate ${policy}`, kind: 'evaluate', units, seconds: PER_ANSWER * units },
  });
  return [
    { name: 'data', kind: 'data', units: images, seconds: PER_IMAGE * images },
    evaluation('base', questions(size, 'validation') + questions(size, 'test')),
    ...RUNS.flatMap(({ name, paradigm }): Stage[] => [
      { name: `train ${name}`, kind: 'train', units: steps, seconds: PER_UPDATE[paradigm] * steps },
      evaluation(name, questions(size, 'test')),
    ]),
  ];
}
