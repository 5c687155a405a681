import { mkdirSync, mkdtempSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { Territory } from './inside.ts';

test('a file lies in a folder where its name and all links say so', () => {
  const root = realpathSync(mkdtempSync(path.join(tmpdir(), 'visurf-inside-')));
  const at = (...names: string[]): string => path.join(root, ...names);
  for (const name of ['set/images', 'set-b', 'secret']) mkdirSync(at(name), { recursive: true });
  for (const name of ['set/images/a.png', 'set-b/b.png', 'secret/c.png']) writeFileSync(at(name), '');
  symlinkSync(at('secret/c.png'), at('set/link.png'));
  symlinkSync(at('secret'), at('set/folder'));
  symlinkSync(at('set/images/a.png'), at('set/inner.png'));
  symlinkSync(at('set'), at('linked'));
  const inside = (...files: string[]) => files.map((file) => new Territory([at('set')]).has(at(file)));
  expect(inside('set/images/a.png', 'set/inner.png', 'set/none.png', 'linked/images/a.png')).toEqual([
    ...[true, true, true, false],
  ]);
  expect(inside('set', 'set-b/b.png', 'secret/c.png', 'set/link.png', 'set/folder/c.png')).toEqual(
    Array<boolean>(5).fill(false),
  );
  // A folder that is named by a link holds what it links to.
  expect(new Territory([at('linked')]).has(at('linked/images/a.png'))).toBe(true);
});
