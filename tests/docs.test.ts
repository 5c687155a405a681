/** The documentation says what is so. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { MADE } from '../scripts/docs.ts';
import { repositoryFiles, root } from './sources.ts';

const read = (file: string): string => readFileSync(join(root, file), 'utf8');
/** Those that generated pages are made of lie elsewhere, with links as in docs/. */
const pages = repositoryFiles().filter((file) => file.endsWith('.md') && !file.endsWith('/page.md'));

test.each(Object.entries(MADE))('%s is what make docs makes of it', (page, make) => {
  expect(read(page)).toBe(make(read(page)));
});

test('links lead to files', () => {
  const broken = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g)].flatMap(([, target = '']) =>
      existsSync(join(root, dirname(page), target)) ? [] : [`${page}: ${target}`],
    ),
  );
  expect(broken).toEqual([]);
});
