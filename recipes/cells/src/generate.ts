/** Cuts windows out of photographs: `node recipes/cells/src/generate.ts BCCD [--output DIR]`. */
import { parseArgs } from 'node:util';

import { generateWindows } from './windows.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { output: { type: 'string', default: 'runs/cells/data' } },
});
const [set] = positionals;
if (set === undefined) {
  console.error('say where the photographs are: node recipes/cells/src/generate.ts BCCD_Dataset/BCCD');
  process.exit(2);
}
const counts = await generateWindows(set, values.output);
for (const [part, count] of Object.entries(counts)) console.log(`${count} windows: ${values.output}/${part}.jsonl`);
