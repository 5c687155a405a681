/** The data of all comparisons, of which they hold results. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { generateSuite } from '../dataset.ts';

export const DATA = join(import.meta.dirname, '../../../../runs/mini/data');

/** Pictures of every set. */
const PICTURES = { train: 800, validation: 40, test: 150 };

/** Draws what is not there. */
export async function makeData(): Promise<void> {
  if (!existsSync(join(DATA, 'skills-test.jsonl'))) await generateSuite(DATA, { seed: 0, pictures: PICTURES });
}
