/** The suite as a dataset: PNG pictures, and JSONL files whose lines name their task and their set. */
import { DatasetFiles, imagePath, type Drawn, type FileOptions } from '@visurf/mini-grounding/kit';

import type { Split } from './pictures/picture.ts';
import { drawQuestions, SKILL_SETS, TASK_SETS, type DrawnQuestion, type SetName } from './questions.ts';

export interface SuiteOptions extends FileOptions {
  /** Seed of all pictures. */
  readonly seed: number;
  /** Pictures of every set, in each split. */
  readonly pictures: Readonly<Record<Split, number>>;
  /** Unset: all six. */
  readonly sets?: readonly (typeof TASK_SETS)[number][] | undefined;
  /** Pictures of every held-out skill; unset: as many as of the sets. */
  readonly skills?: Readonly<Record<'validation' | 'test', number>> | undefined;
}

/** One line of a JSONL file. */
export interface Line extends DrawnQuestion {
  readonly id: string;
  readonly image: string;
  readonly set: SetName;
}

export interface SuiteFiles {
  readonly train: string;
  readonly validation: string;
  readonly test: string;
  /** Held-out skills. */
  readonly skills: { readonly validation: string; readonly test: string };
}

/**
 * Writes `train.jsonl`, `validation.jsonl`, `test.jsonl` with the sets in turn, `skills-validation.jsonl` and
 * `skills-test.jsonl`. Splits share neither
 * pictures nor compositions with each other; a base model's pretraining shares compositions with `train` alone, and no
 * picture. The same seed gives the same bytes of pixels.
 */
export async function generateSuite(directory: string, options: SuiteOptions): Promise<SuiteFiles> {
  const { seed, pictures, sets = TASK_SETS, skills = pictures } = options;
  const { train, validation, test } = pictures;
  const total = sets.length * (train + validation + test) + SKILL_SETS.length * (skills.validation + skills.test);
  const files = new DatasetFiles(directory, total, options);
  const write = (name: string, split: Split, names: readonly SetName[], each = pictures[split]): Promise<string> =>
    files.write(name, names.length * each, (i) =>
      drawLines(names[i % names.length] ?? 'referring', split, seed, Math.floor(i / names.length)),
    );
  return {
    train: await write('train', 'train', sets),
    validation: await write('validation', 'validation', sets),
    test: await write('test', 'test', sets),
    skills: {
      validation: await write('skills-validation', 'validation', SKILL_SETS, skills.validation),
      test: await write('skills-test', 'test', SKILL_SETS, skills.test),
    },
  };
}

async function drawLines(set: SetName, split: Split, seed: number, number: number): Promise<Drawn<Line>> {
  const { pixels, questions } = await drawQuestions(set, split, seed, number);
  const name = `${set}-${split}-${String(number).padStart(5, '0')}`;
  const lines = questions.map((question, i): Line => ({
    id: questions.length > 1 ? `${name}-${question.kind ?? i}` : name,
    image: imagePath(name),
    set,
    ...question,
  }));
  return { name, pixels, lines };
}
