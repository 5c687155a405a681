/** The data of the comparisons, of which the repository holds results: `node src/results/data.ts` draws what is not there. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { generateSuite, type SuiteOptions } from '../dataset.ts';

const RUNS = join(import.meta.dirname, '../../../../runs/mini');

/** What the main comparison learns from and answers. */
export const DATA_OF_SUITE = join(RUNS, 'data');

type Drawn = Omit<SuiteOptions, 'seed'>;

/** Pictures of every set, by directory. */
const DATA: Readonly<Record<string, Drawn>> = {
  data: { pictures: { train: 800, validation: 40, test: 150 } },
  'qwen2/data': {
    sets: ['defects', 'lesions'],
    pictures: { train: 600, validation: 40, test: 200 },
    skills: { validation: 0, test: 0 },
  },
  'qwen3/data': {
    sets: ['referring', 'relational'],
    pictures: { train: 600, validation: 40, test: 100 },
    skills: { validation: 0, test: 0 },
  },
  'takeover/data': {
    sets: ['referring'],
    pictures: { train: 600, validation: 40, test: 150 },
    skills: { validation: 0, test: 0 },
  },
};

export async function makeData(): Promise<void> {
  for (const [name, options] of Object.entries(DATA)) {
    // The file that is written last.
    if (existsSync(join(RUNS, name, 'skills-test.jsonl'))) continue;
    console.error(`drawing ${join('runs/mini', name)}`);
    await generateSuite(join(RUNS, name), { seed: 0, ...options });
  }
}

if (import.meta.main) await makeData();
