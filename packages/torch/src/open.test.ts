import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

const isOpen = "readFileSync('/proc/self/maps', 'utf8').includes('libtorch_cpu')";

test('libtorch is opened with its first use, and operators that were named before have their ids', () => {
  const script = `
    import { readFileSync } from 'node:fs';
    import { ones } from './index.ts';
    import { op } from './native.ts';
    const id = op('neg');
    const before = ${isOpen};
    const sum = ones([2, 3]).neg().sum().item();
    console.log(JSON.stringify({ before, after: ${isOpen}, sum, isSame: op('neg') === id }));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: import.meta.dirname,
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual({ before: false, after: true, sum: -6, isSame: true });
});
