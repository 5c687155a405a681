/** What must not be in the repository: hosts of package registries, and paths of somebody's machine. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { repositoryFiles, root } from './sources.ts';

/** Written in parts, so that this file passes. */
const HOSTS = [
  ['npm', 'js.org'],
  ['npm', 'js.com'],
  ['yarn', 'pkg.com'],
  ['pypi', '.org'],
  ['python', 'hosted.org'],
  ['download.py', 'torch.org'],
  ['deb', '.debian.org'],
].map((parts) => parts.join(''));

/** Home folders and the like: such a path means something on one machine only. */
const MACHINE_PATH = /(?<![\w.$}~/-])\/(?:home|root|Users|opt|mnt)\/[\w.-]+/;

const texts = repositoryFiles()
  .map((file) => ({ file, content: readFileSync(join(root, file)) }))
  .filter(({ content }) => !content.subarray(0, 8000).includes(0))
  .map(({ file, content }) => ({ file, lines: content.toString().split('\n') }));

test('no file names the host of a package registry', () => {
  expect(places((line) => HOSTS.some((host) => line.includes(host)))).toEqual([]);
});

test('no file holds a path of the machine it was written on', () => {
  expect(places((line) => MACHINE_PATH.test(line) || line.includes(`${root}/`))).toEqual([]);
});

test('beside the folders stand only the pages that every checkout needs', () => {
  const pages = repositoryFiles().filter((file) => /^[^/]+\.(md|txt|log|json)$/i.test(file));
  const known = ['ARCHITECTURE.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'README.md'];
  const settings = ['knip.json', 'package-lock.json', 'package.json', 'tsconfig.json'];
  expect(pages.filter((file) => ![...known, ...settings].includes(file))).toEqual([]);
});

test('the lock file leaves the choice of registry to the user', () => {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { resolved?: string; link?: boolean }>;
  };
  const named = Object.entries(lock.packages).filter(([, entry]) => entry.resolved && !entry.link);
  expect(named.map(([name]) => name)).toEqual([]);
});

function places(matches: (line: string) => boolean): string[] {
  return texts.flatMap(({ file, lines }) =>
    lines.flatMap((line, index) => (matches(line) ? [`${file}:${index + 1}: ${line.trim().slice(0, 120)}`] : [])),
  );
}
