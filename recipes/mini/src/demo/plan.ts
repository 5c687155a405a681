/** What the demo does, at which size, and how long it should take. */
import { fileURLToPath } from 'node:url';

import { loadComparison, type Comparison } from '@visurf/core';

import type { SuiteOptions } from '../dataset.ts';
import { SKILL_SETS } from '../questions.ts';
import type { Stage } from './eta.ts';

/** The comparison whose runs and columns the demo has. */
const COMPARISON = fileURLToPath(new URL('../../comparisons/main.yaml', import.meta.url));

/** Names as in the table. */
export const NAMES: Readonly<Record<string, string>> = {
  ...{ baseline: 'base', sft: 'SFT', rlvr: 'RLVR', 'sft-then-rlvr': 'SFT → RLVR', visurf: 'ViSurf' },
};

type Sets = NonNullable<SuiteOptions['sets']>;

export interface Size {
  readonly sets: Sets;
  /** Pictures of every set. */
  readonly pictures: SuiteOptions['pictures'];
  readonly steps: number;
  /** Further changes to the recipe's configuration. */
  readonly changes: readonly string[];
}

export const FULL: Size = {
  sets: ['referring', 'relational', 'clicking', 'defects', 'lesions', 'sums'],
  pictures: { train: 600, validation: 20, test: 100 },
  steps: 250,
  changes: ['eval.every=25'],
};

export const QUICK: Size = {
  sets: ['referring', 'relational'],
  pictures: { train: 400, validation: 15, test: 60 },
  steps: 70,
  changes: ['promptsPerStep=18', 'optimizer.warmupSteps=5', 'eval.every=10'],
};

/** The baseline and the runs. */
export const POLICIES = ['baseline', 'sft', 'rlvr', 'sft-then-rlvr', 'visurf'] as const;

/** The comparison of the demo in `output`: one seed, data of its own, only the columns of its sets. */
export function comparisonOf(
  { sets, steps, changes }: Size,
  output: string,
  own: Readonly<Record<string, string | number>>,
  seed: number,
): Comparison {
  const overrides = Object.entries({ steps, ...own }).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  const { columns, runs, ...whole } = loadComparison(COMPARISON);
  const measured = (metric: string): boolean => {
    const [file, set] = metric.split('.');
    return file === 'skills' || sets.some((each) => each === set);
  };
  return {
    ...whole,
    ...{ output, results: `${output}/results`, seeds: [seed], sampled: undefined, merged: new Map() },
    changes: [...changes, ...overrides],
    data: new Map(['test', 'skills'].map((name) => [name, dataFile(output, name)])),
    runs: runs.map(({ name, changes: given }) => ({
      name,
      changes: name === 'sft-then-rlvr' ? [...given, `sftSteps=${Math.round(steps / 2)}`] : given,
    })),
    columns: columns?.flatMap(({ name, of }) => {
      const left = of.filter(measured);
      return left.length > 0 ? [{ name, of: left }] : [];
    }),
  };
}

export const dataFile = (output: string, name: string): string =>
  `${output}/data/${name === 'skills' ? 'skills-test' : name}.jsonl`;

/** Seconds on two cores of the machine that the demo was made on. */
const PER_PICTURE = 0.004;
const PER_ANSWER = 0.01;
const PER_UPDATE: Readonly<Record<string, number>> = { sft: 0.28, rlvr: 0.43, 'sft-then-rlvr': 0.31, visurf: 0.49 };

export function picturesOf({ sets, pictures: { train, validation, test } }: Size): number {
  return sets.length * (train + validation + test) + SKILL_SETS.length * (validation + test);
}

/** The parts of the demo, in order, as a comparison names them. */
export function stagesOf(size: Size, seed: number): Stage[] {
  const { sets, pictures, steps } = size;
  // A picture of `referring` has two questions.
  const tests = pictures.test * (sets.length + (sets.includes('referring') ? 1 : 0));
  const skills = pictures.test * SKILL_SETS.length;
  const answering = (title: string): Stage[] =>
    Object.entries({ test: tests, skills }).map(([name, units]) => ({
      ...{ name: `${title}: answering ${name}`, kind: 'evaluate', units, seconds: PER_ANSWER * units },
    }));
  return [
    { name: 'data', kind: 'data', units: picturesOf(size), seconds: PER_PICTURE * picturesOf(size) },
    ...POLICIES.flatMap((policy): Stage[] => {
      if (policy === 'baseline') return answering(policy);
      const title = `${policy}, seed ${seed}`;
      const seconds = PER_UPDATE[policy]! * steps;
      return [{ name: `${title}: training`, kind: 'train', units: steps, seconds }, ...answering(title)];
    }),
  ];
}
