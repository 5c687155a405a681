/** Who may import what: ARCHITECTURE.md says why. */

import { expect, test } from 'vitest';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { importsOf, repositoryFiles, root } from './sources.ts';
import type { Import } from './sources.ts';

/** Our packages, and which others of ours each may import. */
const PACKAGES: Record<string, { name: string; mayImport: string[] }> = {
  'packages/torch': { name: '@visurf/torch', mayImport: [] },
  'packages/core': { name: '@visurf/core', mayImport: ['@visurf/torch'] },
  'packages/studio': { name: '@visurf/studio', mayImport: ['@visurf/core'] },
  'packages/visurf': {
    name: 'visurf',
    mayImport: ['@visurf/core', '@visurf/mini', '@visurf/mini-grounding', '@visurf/studio'],
  },
  'recipes/mini-grounding': { name: '@visurf/mini-grounding', mayImport: ['@visurf/core', '@visurf/torch'] },
  'recipes/cells': {
    name: '@visurf/cells',
    mayImport: ['@visurf/core', '@visurf/torch', '@visurf/mini-grounding', '@visurf/mini'],
  },
  'recipes/mini': { name: '@visurf/mini', mayImport: ['@visurf/core', '@visurf/torch', '@visurf/mini-grounding'] },
};

/**
 * Layers of `packages/core/src` from the ground up: its folders, and the files beside them. A part imports only what stands
 * in layers before its own.
 */
const LAYERS: readonly (readonly string[])[] = [
  ['types.ts', 'errors.ts', 'budgets.ts', 'machine.ts', 'philox.ts', 'signals.ts'],
  ['distributed', 'patterns.ts', 'regular.ts', 'world.ts'],
  ['disk', 'model', 'objective', 'store', 'tasks'],
  ['families', 'hub', 'reward', 'rollout', 'schedule'],
  ['label', 'prompt'],
  ['constrain', 'data', 'masks', 'report'],
  ['benchmarks', 'plugins'],
  ['config'],
  ['device.ts', 'plan', 'question', 'update'],
  ['eval', 'export', 'run', 'servers'],
  ['mirror'],
  ['calibrate', 'policy.ts'],
  ['answers'],
  ['about.ts', 'card.ts', 'check.ts', 'infer.ts', 'opened.ts', 'plan.ts', 'start.ts', 'step.ts'],
  ['benchmark.ts', 'evaluate.ts', 'fit.ts', 'forms.ts', 'memory.ts', 'predict.ts', 'publish.ts'],
  ['predictions.ts'],
  ['init', 'training'],
  ['init.ts', 'train.ts'],
  ['apart.ts'],
  ['apart-thread.ts'],
  ['compare'],
  ['compare.ts'],
  ['index.ts', 'internals.ts', 'records.ts', 'setup.ts'],
];
const PARTS = LAYERS.flat();

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
  'disk',
  'store',
  'mirror',
];

const sources = repositoryFiles().filter((file) => file.endsWith('.ts') && !file.includes('/testing/'));
const imports = sources.flatMap(importsOf);
const product = imports.filter(({ from }) => !from.endsWith('.test.ts'));

test('the imports are found', () => {
  expect(imports).toContainEqual({
    ...{ from: 'tests/architecture.test.ts', to: 'tests/sources.ts' },
    ...{ specifier: './sources.ts', typeOnly: true },
  });
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

test('every part of core has a layer, and imports only layers before its own', () => {
  const parts = new Set(sources.filter((file) => !file.endsWith('.test.ts')).flatMap((file) => partOf(file) ?? []));
  expect([...parts].sort()).toEqual([...PARTS].sort());
  const layerOf = (part: string): number => LAYERS.findIndex((layer) => layer.includes(part));
  const wrong = product.filter(({ from, to }) => {
    const [importer, imported] = [partOf(from), partOf(to)];
    return importer && imported && importer !== imported && layerOf(imported) >= layerOf(importer);
  });
  expect(show(wrong)).toEqual([]);
});

test('the map names every part of core, and draws the layers', () => {
  const map = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
  const drawing = LAYERS.map((layer) => `${layer.join(' ')}\n`).reverse();
  expect(map).toContain(`\n\`\`\`\n${drawing.join('')}\`\`\`\n`);
  const isNamed = (part: string): boolean =>
    new RegExp(part.endsWith('.ts') ? `\`${part}\`` : `(\n|\`)${part}/`).test(map);
  expect(PARTS.filter((part) => !isNamed(part))).toEqual([]);
});

test.each(PURE)('%s runs without the native addon', (folder) => {
  const loaded = product.filter(({ typeOnly }) => !typeOnly);
  const reached = new Set(sources.filter((file) => partOf(file) === folder && !file.endsWith('.test.ts')));
  const wrong: Import[] = [];
  for (const file of reached) {
    for (const edge of loaded.filter(({ from }) => from === file)) {
      // Signals and ports need no libtorch.
      if (edge.to === '@visurf/torch' && !/\/(signals|ports)$/.test(edge.specifier)) wrong.push(edge);
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

/** The folder of core that a file is in, or the name of a file beside them. */
function partOf(path: string): string | undefined {
  return /^packages\/core\/src\/([^/]+)/.exec(path)?.[1];
}

function show(edges: readonly Import[]): string[] {
  return edges.map(({ from, to }) => `${from} imports ${to}`);
}
