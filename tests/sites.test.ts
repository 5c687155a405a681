/** How many files and sites it takes to add what docs/extending.md says how to add: those that name one that is there. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { families } from '../packages/core/src/families/index.ts';
import { PARADIGMS } from '../packages/core/src/schedule/definitions.ts';
import { taskDefinition } from '../packages/core/src/tasks/registry.ts';
import { repositoryFiles, root } from './sources.ts';

const core = 'packages/core/src';
const sources = repositoryFiles()
  .filter((file) => file.startsWith(`${core}/`) && file.endsWith('.ts'))
  .filter((file) => !/\.test\.ts$|\/testing\/|testkit/.test(file));
const code = new Map(
  sources.map((file) => [
    file.slice(core.length + 1),
    readFileSync(join(root, file), 'utf8').replace(/\/\*[^]*?\*\/|\/\/.*/g, ''),
  ]),
);

/** The lines of code that name something, by file; but for files of its own. */
function sites(name: RegExp, own: (file: string) => boolean): Record<string, number> {
  const counted = [...code].flatMap(([file, text]): [string, number][] => {
    const lines = own(file) ? 0 : text.split('\n').filter((line) => name.test(line)).length;
    return lines === 0 ? [] : [[file, lines]];
  });
  return Object.fromEntries(counted.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Others may build on grounding; comparisons and presets know the common paradigms. */
const tasks = ['anomaly', 'answer', 'box', 'click', 'math'];
const paradigms = PARADIGMS.filter((each) => !['visurf', 'rlvr', 'sft'].includes(each));

test.each(tasks)('the task %s: a folder, an import and a line', (task) => {
  const found = sites(new RegExp(`/${task}/${task}\\.ts'|defineTask\\(${task}\\)`), (file) =>
    file.startsWith(`tasks/${task}/`),
  );
  expect(found['tasks/registry.ts']).toBe(2);
  expect(Object.keys(found).filter((file) => file.startsWith('tasks/'))).toEqual(['tasks/registry.ts']);
});

/** Terms of a task, by what `decide` or the schema writes out. */
function termsOf(task: string): string[] {
  const definition = taskDefinition(task);
  const defaults = definition.parameters.parse({});
  const { weights } = (definition.decide?.(defaults, []) ?? defaults) as { weights: object };
  return Object.keys(weights);
}

test.each(['grounding', ...tasks])("the reward terms of %s: the task's own files", (task) => {
  const terms = termsOf(task);
  expect(terms).toContain('accuracy');
  const isSetting = `\\bweights\\b.*\\b(${terms.join('|')})\\b\\S* *:`;
  const found = sites(new RegExp(`${isSetting}|\\btasks\\.${task}\\b|\\bnonRepeat\\b`, 'i'), (file) =>
    file.startsWith('tasks/'),
  );
  expect(found).toEqual({});
});

const readers = [...code.keys()]
  .filter((file) => / satisfies Reader|: Reader = /.test(code.get(file)!))
  .map((file) => file.replace(/.*\/|\.ts/g, ''));

test('readers are found', () => expect(readers.length).toBeGreaterThan(10));

test.each(readers)('the reader %s: a file, an import and a name', (reader) => {
  const found = sites(new RegExp(`'\\./${reader}\\.ts'`), (file) => file === `data/formats/${reader}.ts`);
  expect(found['data/formats/registry.ts']).toBe(1);
});

test.each(families)('the family $name: a folder, an import and a name', ({ name }) => {
  const found = sites(new RegExp(`families/${name}/|'\\./${name}/`), (file) => file.startsWith(`families/${name}/`));
  const shared = Object.keys(found).filter((file) => !file.startsWith('families/qwen'));
  expect(shared).toEqual(['families/index.ts']);
  expect(found['families/index.ts']).toBe(1);
});

test.each(paradigms)('the paradigm %s: an entry, and keys of its own', (paradigm) => {
  const found = sites(new RegExp(`'${paradigm}'|\\b${paradigm}: `), () => false);
  expect(found['schedule/definitions.ts']).toBeLessThanOrEqual(2);
  // `init` advises some of them, and keys of the configuration have defaults of some.
  const others = Object.keys(found).filter(
    (file) => file !== 'schedule/definitions.ts' && !/^(init\/|config\/(schema\.|sections\/))/.test(file),
  );
  expect(others).toEqual([]);
});
