/** Writes the data: `node src/generate.ts [DIRECTORY] [--seed N] [--train N] [--validation N] [--test N]`, so many pictures. */
import { parseArgs } from 'node:util';

import { generateDataset } from './dataset.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '0' },
    train: { type: 'string', default: '2000' },
    validation: { type: 'string', default: '50' },
    test: { type: 'string', default: '400' },
  },
});
const [directory = 'runs/mini-grounding/data'] = positionals;
const images = { train: Number(values.train), validation: Number(values.validation), test: Number(values.test) };
console.log(await generateDataset(directory, { seed: Number(values.seed), images }));
