import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { full, live, openSafetensors, saveSafetensors, saveShardedSafetensors } from './index.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sharded-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

/** Four tensors of 40 bytes, tensor i filled with i. */
const four = () => new Map(['a', 'b', 'c', 'd'].map((name, i) => [name, full([10], i)]));
const index = (weightMap: unknown): void => {
  writeFileSync(join(directory, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
};

test('weights that fit are one file', () => {
  saveShardedSafetensors(directory, four());
  expect(readdirSync(directory)).toEqual(['model.safetensors']);
  using weights = openSafetensors(directory);
  expect(weights.names).toEqual(['a', 'b', 'c', 'd']);
  expect(weights.get('c').toArray()).toEqual(Array(10).fill(2));
});

test('more than a shard holds is cut in order, with the index of Hugging Face', () => {
  saveShardedSafetensors(directory, four(), 100);
  expect(readdirSync(directory).sort()).toEqual([
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
    'model.safetensors.index.json',
  ]);
  expect(JSON.parse(readFileSync(join(directory, 'model.safetensors.index.json'), 'utf8'))).toEqual({
    metadata: { total_parameters: 40, total_size: 160 },
    weight_map: {
      a: 'model-00001-of-00002.safetensors',
      b: 'model-00001-of-00002.safetensors',
      c: 'model-00002-of-00002.safetensors',
      d: 'model-00002-of-00002.safetensors',
    },
  });
  using weights = openSafetensors(directory);
  expect(weights.names).toEqual(['a', 'b', 'c', 'd']);
  expect(weights.has('d')).toBe(true);
  expect(weights.shapeOf('d')).toEqual([10]);
  expect(weights.dtypeOf('d')).toBe('float32');
  expect(weights.names.map((name) => weights.get(name).mean().item())).toEqual([0, 1, 2, 3]);
  expect(() => weights.get('e')).toThrow('has no tensor e');
});

test('a tensor larger than a shard has one of its own', () => {
  saveShardedSafetensors(directory, four(), 8);
  expect(readdirSync(directory)).toHaveLength(5);
});

test('writing again leaves nothing of the form before, and may write what it reads', () => {
  saveShardedSafetensors(directory, four(), 100);
  using before = openSafetensors(directory);
  saveShardedSafetensors(directory, new Map(before.names.map((name) => [name, before.get(name)])));
  expect(readdirSync(directory)).toEqual(['model.safetensors']);
  using after = openSafetensors(directory);
  expect(after.get('d').toArray()).toEqual(Array(10).fill(3));
});

test('a directory without weights says so', () => {
  expect(() => openSafetensors(directory)).toThrow(`${directory} has no weights`);
});

test.each(['../evil.safetensors', '/etc/passwd', 'a\\b.safetensors', '..', '', 3, null])(
  'the shard name %j is refused',
  (shard) => {
    index({ a: shard });
    expect(() => openSafetensors(directory)).toThrow('is not the name of a shard beside it');
  },
);

test('an index that is damaged, or promises what no shard has, is refused and leaves no handle open', () => {
  const { handles } = live();
  using x = full([1], 1);
  saveSafetensors(join(directory, 'one.safetensors'), new Map([['a', x]]));
  index({ a: 'one.safetensors', b: 'two.safetensors' });
  expect(() => openSafetensors(directory)).toThrow('names two.safetensors, which is missing');
  index({ a: 'one.safetensors', b: 'one.safetensors' });
  expect(() => openSafetensors(directory)).toThrow('places b in one.safetensors, which does not have it');
  index([]);
  expect(() => openSafetensors(directory)).toThrow('has no weight_map');
  writeFileSync(join(directory, 'model.safetensors.index.json'), '{');
  expect(() => openSafetensors(directory)).toThrow('is no JSON');
  expect(live().handles).toBe(handles + 1);
});

test('a lazy tensor is made when it is written, and only one is alive at a time', () => {
  const before = live();
  let most = 0;
  const lazy = new Map(
    ['a', 'b', 'c', 'd'].map((name, i) => {
      const make = () => {
        most = Math.max(most, live().handles - before.handles);
        return full([10], i);
      };
      return [name, { dtype: 'float32' as const, shape: [10], make }];
    }),
  );
  saveShardedSafetensors(directory, lazy, 100);
  expect([most, live().handles]).toEqual([0, before.handles]);
  using weights = openSafetensors(directory);
  expect(weights.get('d').toArray()).toEqual(Array(10).fill(3));
});
