/** Mistakes that an implementation may make, as transformers would make them (oracle/mutants.py): ours makes none of them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { noGrad, scope } from '@visurf/torch';
import { describe, expect, test } from 'vitest';

import { configurationNames, openConfiguration } from '../testing/configurations.ts';
import { openSubject } from '../testing/parity.ts';
import { loadModelConfig } from './config.ts';
import { loadModel } from './load.ts';

type Mutants = Record<string, { case: string; response: number; distance: number; logProbs: number[] }>;

/** What parity allows in float32. */
const tolerance = 1e-4;

const largest = (a: ArrayLike<number>, b: readonly number[]): number =>
  Math.max(...Array.from(a, (value, i) => Math.abs(value - (b[i] ?? NaN))));

/** How far ours is from every mutant of a configuration, and from what is right there. */
async function distances(name: string, file: string): Promise<{ mutant: string; wrong: number; right: number }[]> {
  const { configuration, prompts } = await openSubject(openConfiguration(name));
  const model = loadModel(configuration.model);
  const found = Object.entries(JSON.parse(readFileSync(file, 'utf8')) as Mutants).map(([mutant, each]) => {
    const at = configuration.cases.findIndex((case_) => case_.name === each.case);
    const { tokens, logProbs } = configuration.cases[at]!.responses[each.response]!;
    const mine = scope(() =>
      noGrad(() => {
        const { hidden, targets } = model.hidden([{ prompt: prompts[at]!, responses: [tokens] }]);
        return model.score(hidden, targets).logProbs;
      }),
    );
    return { mutant, wrong: largest(mine, each.logProbs), right: largest(mine, logProbs) };
  });
  model.dispose();
  return found;
}

const byFamily = Map.groupBy(
  configurationNames.flatMap((name) => {
    const { model } = openConfiguration(name);
    const file = join(model, '..', 'mutants.json');
    return existsSync(file) ? [{ name, file, family: loadModelConfig(model).family.title }] : [];
  }),
  ({ family }) => family,
);

describe.each([...byFamily])('%s', async (_, configurations) => {
  const found = (await Promise.all(configurations.map(({ name, file }) => distances(name, file)))).flat();
  const mutants = Map.groupBy(found, ({ mutant }) => mutant);
  test.each([...mutants])('%s would be seen', (_name, all) => {
    expect(Math.max(...all.map(({ right }) => right))).toBeLessThan(tolerance);
    expect(Math.max(...all.map(({ wrong }) => wrong))).toBeGreaterThan(5 * tolerance);
  });
});
