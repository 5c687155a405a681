/** The documentation says what is so. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { MADE } from '../scripts/docs.ts';
import { wrapped } from '../scripts/prose.ts';
import { repositoryFiles, root } from './sources.ts';

const read = (file: string): string => readFileSync(join(root, file), 'utf8');
/** Those that generated pages are made of lie elsewhere, with links as in docs/. */
const pages = repositoryFiles().filter((file) => file.endsWith('.md') && !file.endsWith('/page.md'));

test.each(Object.entries(MADE))('%s is what make docs makes of it', (page, make) => {
  expect(read(page)).toBe(make(read(page)));
});

test('lines of prose are at most 120 characters long; make docs wraps them', () => {
  const guarded = pages.filter((page) => /^(?:docs\/|README|ARCHITECTURE|CONTRIBUTING)/.test(page));
  expect(guarded).toContain('docs/configuration.md');
  const long = guarded.flatMap((page) =>
    read(page)
      .split('\n')
      .flatMap((line, i) => (line.length > 120 && !line.startsWith('|') ? [`${page}:${i + 1}`] : [])),
  );
  expect(long).toEqual([]);
});

test('prose is wrapped at words, never inside code, and what is short stays', () => {
  const word = 'a'.repeat(50);
  const short = `${word}\n${word}\n\n| ${word} ${word} ${word} |\n`;
  expect(wrapped(short)).toBe(short);
  expect(wrapped(`- ${word} ${word} ${word}\n  b - c\n`)).toBe(`- ${word} ${word}\n  ${word} b - c\n`);
  const code = `\`${'b '.repeat(25)}b\``;
  expect(wrapped(`${word} ${word} ${code} ${word}`)).toBe(`${word} ${word}\n${code} ${word}`);
  // A dash that begins a line would begin an item.
  expect(wrapped(`${word} ${word} ${'c'.repeat(18)} - ${word}`)).toBe(`${word} ${word} ${'c'.repeat(18)} -\n${word}`);
  for (const page of pages) expect(wrapped(wrapped(read(page)))).toBe(wrapped(read(page)));
});

test('links lead to files', () => {
  const broken = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g)].flatMap(([, target = '']) =>
      existsSync(join(root, dirname(page), target)) ? [] : [`${page}: ${target}`],
    ),
  );
  expect(broken).toEqual([]);
});
