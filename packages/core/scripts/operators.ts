/** Prints the operators that steps of training ask of a device, for oracle/cuda_operators.py. */
import { standInDevice } from '@visurf/torch/testing';

import { families } from '../src/families/index.ts';
import { smallModel, variants, wholeStep } from '../src/testing/whole-step.ts';

const device = standInDevice();
const asked = new Set<string>();
for (const model of families.map(smallModel)) {
  for (const variant of Object.values(variants)) await wholeStep(model, device, variant, { asked });
  await wholeStep(model, device, {}, { dtype: 'float64', asked });
}
process.stdout.write(`${[...asked].sort().join('\n')}\n`);
