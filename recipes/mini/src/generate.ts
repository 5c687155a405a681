/**
 * Writes the suite: `node src/generate.ts DIRECTORY [--seed N] [--train N] [--validation N] [--test N] [--sets A,B]`, so many
 * pictures of each set.
 */
import { parseArgs } from 'node:util';

import { generateSuite } from './dataset.ts';
import { TASK_SETS } from './questions.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '0' },
    train: { type: 'string', default: '1000' },
    validation: { type: 'string', default: '50' },
    test: { type: 'string', default: '200' },
    sets: { type: 'string', default: TASK_SETS.join(',') },
  },
});
const [directory = 'runs/mini/data'] = positionals;
const pictures = { train: Number(values.train), validation: Number(values.validation), test: Number(values.test) };
const wanted = values.sets.split(',');
const unknown = wanted.filter((name) => !TASK_SETS.some((set) => set === name));
if (unknown.length > 0) throw new Error(`no sets named ${unknown.join(', ')}: choose among ${TASK_SETS.join(', ')}`);
const sets = TASK_SETS.filter((set) => wanted.includes(set));
console.log(await generateSuite(directory, { seed: Number(values.seed), pictures, sets }));
