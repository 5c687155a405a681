/** export and merge: what they write scores as what they were made from. */

import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fixtures, temporaryFolder, tinyModel, visurf, visurfJson } from './cli.ts';

const adapter = join(fixtures, 'tiny-qwen2_5-vl/adapters/vision');
const question = ['--image', join(fixtures, 'images/small-40x40.png'), '--prompt', 'red'];

async function total(model: string): Promise<number> {
  const scored = await visurfJson<{ total: number }>('score', '--model', model, ...question, '--response', 'blue');
  return scored.total;
}

test('a merged adapter scores as the adapter does, and not as its base', async () => {
  const folder = temporaryFolder();
  const written = await visurfJson<{ kind: string; directory: string; files: string[] }>(
    ...['merge', '--model', tinyModel, '--adapter', adapter, '--output', join(folder, 'merged')],
  );
  expect(written).toMatchObject({ kind: 'model', directory: join(folder, 'merged'), dtype: 'float32' });
  expect(written.files).toEqual(readdirSync(tinyModel).sort());
  const [base, adapted, merged] = [await total(tinyModel), await total(adapter), await total(written.directory)];
  expect(merged).toBeCloseTo(adapted, 3);
  expect(Math.abs(merged - base)).toBeGreaterThan(0.1);
});

test('a model in shards and in another dtype', async () => {
  const output = join(temporaryFolder(), 'half');
  const { code, stdout } = await visurf(
    ...['export', '--model', tinyModel, '--output', output, '--dtype', 'bfloat16', '--max-shard-size', '200KB'],
  );
  expect(code).toBe(0);
  expect(stdout).toContain('model in bfloat16');
  expect(readdirSync(output)).toContain('model.safetensors.index.json');
});

test('an adapter alone', async () => {
  const output = join(temporaryFolder(), 'adapter');
  const written = await visurfJson<{ kind: string }>('export', '--model', adapter, '--output', output);
  expect(written).toMatchObject({ kind: 'adapter', files: ['adapter_config.json', 'adapter_model.safetensors'] });
});

test('what cannot be written is refused', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'mine.txt'), '');
  const full = await visurf('export', '--model', tinyModel, '--output', folder);
  expect([full.code, full.stderr]).toEqual([2, expect.stringContaining('the directory is not empty')]);
  const whole = await visurf('merge', '--model', tinyModel, '--output', join(folder, 'merged'));
  expect([whole.code, whole.stderr]).toEqual([2, expect.stringContaining('no adapter to merge')]);
  const size = await visurf('export', '--model', tinyModel, '--output', folder, '--max-shard-size', 'much');
  expect([size.code, size.stderr]).toEqual([2, expect.stringContaining('such as 5GB')]);
  expect(readdirSync(folder)).toEqual(['mine.txt']);
});
