/** Who may import what: ARCHITECTURE.md says why. */

import { expect, test } from 'vitest';
import { importsOf, repositoryFiles } from './sources.ts';
import type { Import } from './sources.ts';

/** Our packages, and which others of ours each may import. */
const PACKAGES: Record<string, { name: string; mayImport: string[] }> = {
  'packages/torch': { name: '@visurf/torch', mayImport: [] },
  'packages/core': { name: '@visurf/core', mayImport: ['@visurf/torch'] },
  'packages/visurf': { name: 'visurf', mayImport: ['@visurf/core', '@visurf/mini'] },
  'recipes/mini-grounding': { name: '@visurf/mini-grounding', mayImport: ['@visurf/core', '@visurf/torch'] },
  'recipes/mini': { name: '@visurf/mini', mayImport: ['@visurf/core', '@visurf/torch', '@visurf/mini-grounding'] },
};

/** Folders of `packages/core/src`, and which others each may import. The files beside them (`step.ts`, ...) know all. */
const FOLDERS: Record<string, string[]> = {
  tasks: [],
  objective: [],
  reward: ['tasks', 'label'],
  label: ['tasks', 'reward', 'objective'],
  schedule: ['objective', 'label'],
  config: ['plugins', 'tasks', 'reward', 'label', 'objective', 'schedule', 'hub'],
  plugins: ['tasks', 'reward'],
  question: ['config', 'data', 'masks', 'plugins', 'prompt', 'reward', 'tasks'],
  data: ['tasks', 'config', 'prompt'],
  benchmarks: ['data', 'masks', 'prompt', 'tasks'],
  masks: ['hub', 'prompt', 'reward', 'tasks'],
  run: ['config'],
  families: ['model', 'prompt'],
  prompt: ['config', 'families'],
  hub: ['run'],
  model: ['families'],
  plan: ['config', 'model'],
  rollout: ['model', 'prompt'],
  export: ['model', 'question'],
  report: ['config', 'run', 'tasks', 'prompt'],
  update: ['config', 'model', 'objective', 'rollout'],
  compare: ['config', 'schedule', 'run', 'tasks', 'eval', 'rollout'],
  eval: ['tasks', 'reward', 'label', 'objective', 'data', 'prompt', 'model', 'rollout', 'question'],
};

/** Folders whose every file runs without the native addon. */
const PURE = [
  'benchmarks',
  'masks',
  'plugins',
  'question',
  'tasks',
  'reward',
  'label',
  'objective',
  'schedule',
  'config',
  'data',
  'run',
  'hub',
];

const sources = repositoryFiles().filter((file) => file.endsWith('.ts') && !file.includes('/testing/'));
const imports = sources.flatMap(importsOf);
const product = imports.filter(({ from }) => !from.endsWith('.test.ts'));

test('the imports are found', () => {
  expect(imports).toContainEqual({ from: 'tests/architecture.test.ts', to: 'tests/sources.ts', typeOnly: true });
});

test('a package imports only the packages below it', () => {
  const names = Object.values(PACKAGES).map(({ name }) => name);
  const wrong = imports.filter(({ from, to }) => {
    const owner = Object.entries(PACKAGES).find(([folder]) => from.startsWith(`${folder}/`))?.[1];
    return owner && names.includes(to) && to !== owner.name && !owner.mayImport.includes(to);
  });
  expect(show(wrong)).toEqual([]);
});

test('a package is imported by its name, never by a path into it', () => {
  const home = (path: string) => Object.keys(PACKAGES).find((folder) => path.startsWith(`${folder}/`));
  const wrong = product.filter(({ from, to }) => to.includes('/') && home(to) && home(from) && home(from) !== home(to));
  expect(show(wrong)).toEqual([]);
});

test('every folder of core is known, and imports only the folders that it may', () => {
  const folders = new Set(sources.map(folderOf).filter((folder) => folder !== undefined));
  expect([...folders].filter((folder) => !(folder in FOLDERS))).toEqual([]);
  const wrong = product.filter(({ from, to }) => {
    const [importer, imported] = [folderOf(from), folderOf(to)];
    return importer && imported && importer !== imported && !FOLDERS[importer]?.includes(imported);
  });
  expect(show(wrong)).toEqual([]);
});

test('a folder of core does not import the files that put the folders together', () => {
  const shared = ['types.ts', 'errors.ts', 'budgets.ts'].map((file) => `packages/core/src/${file}`);
  const wrong = product.filter(
    ({ from, to }) => folderOf(from) && /^packages\/core\/src\/[^/]+$/.test(to) && !shared.includes(to),
  );
  expect(show(wrong)).toEqual([]);
});

test.each(PURE)('%s runs without the native addon', (folder) => {
  const loaded = product.filter(({ typeOnly }) => !typeOnly);
  const reached = new Set(sources.filter((file) => folderOf(file) === folder && !file.endsWith('.test.ts')));
  const wrong: Import[] = [];
  for (const file of reached) {
    for (const edge of loaded.filter(({ from }) => from === file)) {
      if (edge.to === '@visurf/torch') wrong.push(edge);
      reached.add(edge.to);
    }
  }
  expect(show(wrong)).toEqual([]);
});

test('no file imports itself through others', () => {
  const next = new Map<string, string[]>();
  for (const { from, to, typeOnly } of product) if (!typeOnly) next.set(from, [...(next.get(from) ?? []), to]);
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
    if (done.has(file) || path.includes(file)) return;
    for (const imported of next.get(file) ?? []) visit(imported, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  expect(cycles).toEqual([]);
});

function folderOf(path: string): string | undefined {
  return /^packages\/core\/src\/(\w+)\//.exec(path)?.[1];
}

function show(edges: readonly Import[]): string[] {
  return edges.map(({ from, to }) => `${from} imports ${to}`);
}
