import fs, { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { copyFile, replaceFile, sync } from './durable.ts';

const root = mkdtempSync(path.join(tmpdir(), 'visurf-durable-'));
afterAll(() => rmSync(root, { recursive: true }));

const { fsyncSync } = fs;
afterEach(() => {
  fs.fsyncSync = fsyncSync;
  syncBuiltinESMExports();
});

/** A file system of the net that refuses to wait for what a test names. */
function refusing(isRefused: (stats: fs.Stats) => boolean): void {
  fs.fsyncSync = (file) => {
    if (isRefused(fs.fstatSync(file))) throw Object.assign(new Error('EINVAL: fsync'), { code: 'EINVAL' });
    fsyncSync(file);
  };
  syncBuiltinESMExports();
}

test('a file is replaced, too, where a file system cannot wait for directories', () => {
  refusing((stats) => stats.isDirectory());
  const file = path.join(root, 'config.yaml');
  replaceFile(file, 'a: 1\n');
  expect(readFileSync(file, 'utf8')).toBe('a: 1\n');
});

test('a file that cannot be waited for is not taken for one that is on the disk', () => {
  const file = path.join(root, 'weights');
  writeFileSync(file, 'w');
  refusing((stats) => stats.isFile());
  expect(() => sync(file)).toThrow('EINVAL');
  expect(() => replaceFile(file, 'v')).toThrow('EINVAL');
  expect(readFileSync(file, 'utf8')).toBe('w');
});

test('a file is copied, whatever its length', () => {
  const bytes = Buffer.alloc((4 << 20) + 12_345, 'ab');
  writeFileSync(path.join(root, 'from'), bytes);
  copyFile(path.join(root, 'from'), path.join(root, 'to'));
  expect(readFileSync(path.join(root, 'to')).equals(bytes)).toBe(true);
});
