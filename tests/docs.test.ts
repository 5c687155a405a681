/** The documentation names everything that exists. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { configSchema, keysAt } from '../packages/core/src/config/schema.ts';
import { root } from './sources.ts';

const page = readFileSync(join(root, 'docs/configuration.md'), 'utf8');

test('every key of the configuration is documented', () => {
  const undocumented = leaves([]).filter((path) => {
    const last = path.at(-1)!;
    return !page.includes(`\`${path.join('.')}\``) && !page.includes(`\`.${last}\``);
  });
  expect(undocumented.map((path) => path.join('.'))).toEqual([]);
});

function leaves(path: string[]): string[][] {
  return keysAt(configSchema, path).flatMap((key) => {
    const below = leaves([...path, key]);
    return below.length > 0 || key === 'task' ? below : [[...path, key]];
  });
}
