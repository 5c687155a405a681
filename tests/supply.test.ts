/** What set-up fetches: in one version, and by its hash. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { pinned, PINNED, TOOLS } from '../packages/torch/scripts/fetch.mjs';
import { root } from './sources.ts';

const entries = [...pinned('torch'), ...pinned('cmake'), ...pinned('ninja')];

test('every package of PyPI has a version, hashes and a licence', () => {
  expect(entries.length).toBeGreaterThan(30);
  for (const entry of entries) {
    expect(entry).toMatch(/^[\w-]+==[\w.]+( ; [^\n]+)?( \\\n {4}--hash=sha256:[0-9a-f]{64})+\n {4}# \S/);
  }
  const has = (name: string, version: string): boolean =>
    entries.some((each) => each.startsWith(`${name}==${version} `));
  expect([has('torch', PINNED), has('cmake', TOOLS.cmake), has('ninja', TOOLS.ninja)]).toEqual([true, true, true]);
});

test.each(['torch', 'cmake', 'ninja'] as const)('%s has a file for every platform and Python', (name) => {
  const [entry = ''] = entries.filter((each) => each.startsWith(`${name}==`));
  const files = entry.match(/--hash/g)?.length;
  // Three platforms; of torch five Pythons, and one without its lock.
  expect(files).toBe(name === 'torch' ? 15 : 3);
});

test.each(['.', 'scripts/node'])('every npm package of %s has a hash, and no host', (folder) => {
  const text = readFileSync(join(root, folder, 'package-lock.json'), 'utf8');
  const { packages } = JSON.parse(text) as {
    packages: Record<string, { integrity?: string; link?: true; resolved?: string }>;
  };
  const others = Object.entries(packages).filter(([place, { link }]) => place.includes('node_modules/') && !link);
  expect(others.length).toBeGreaterThan(1);
  expect(others.filter(([, { integrity }]) => !integrity?.startsWith('sha512-'))).toEqual([]);
  expect(others.filter(([, { resolved }]) => resolved?.includes('//'))).toEqual([]);
});
