/** export and merge: what they write scores as what they were made from. */

import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, fixtures, temporaryFolder, tinyModel, visurf, visurfJson } from './cli.ts';
import { makeFolder } from './training.ts';

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

test('an adapter is put on a model wherever one is named, and its base is named where it was moved', async () => {
  const folder = temporaryFolder();
  const moved = join(folder, 'moved');
  cpSync(adapter, moved, { recursive: true });
  const scored = async (...args: string[]): Promise<number> =>
    (await visurfJson<{ total: number }>('score', ...args, ...question, '--response', 'blue')).total;
  const adapted = await total(adapter);
  expect(await scored('--model', tinyModel, '--adapter', moved)).toBe(adapted);
  expect(await scored('--model', moved, '--base', tinyModel)).toBe(adapted);
  const lost = ['no directory here', '--base DIR', join(moved, 'adapter_config.json')];
  expectRefusal(await visurf('score', '--model', moved, ...question, '--response', 'blue', '--json'), ...lost);
  expectRefusal(await visurf('inspect', '--model', moved, ...question, '--json'), ...lost);

  const short = [...question, '--max-new-tokens', '3'];
  const said = await visurfJson('generate', '--model', adapter, ...short);
  expect(await visurfJson('generate', '--model', tinyModel, '--adapter', moved, ...short)).toEqual(said);
  const seen = await visurfJson('inspect', '--model', tinyModel, ...question);
  expect(await visurfJson('inspect', '--model', moved, '--base', tinyModel, ...question)).toEqual(seen);
  const output = join(folder, 'merged');
  await visurfJson('merge', '--model', moved, '--base', tinyModel, '--output', output, '--max-pixels', '50176');
  expect(Math.abs((await total(output)) - adapted)).toBeLessThan(1e-3);
  expect(readFileSync(join(output, 'processor_config.json'), 'utf8')).toContain('"longest_edge": 50176');
});

test('two models become one', async () => {
  const folder = temporaryFolder();
  const adapted = join(folder, 'adapted');
  await visurfJson('merge', '--model', tinyModel, '--adapter', adapter, '--output', adapted);
  const two = ['merge', '--model', tinyModel, '--with', adapted];
  const merged = async (...options: string[]): Promise<number> => {
    const output = join(folder, `merged${options.join('').replaceAll(/\W/g, '-')}`);
    const { directory } = await visurfJson<{ directory: string }>(...two, ...options, '--output', output);
    return total(directory);
  };
  const other = await total(adapted);
  expect(await merged('--weight', '1')).toBeCloseTo(other, 3);
  // The base learned nothing: all of what the other learned, and nothing else.
  expect(await merged('--method', 'task-arithmetic', '--base', tinyModel)).toBeCloseTo(other, 3);
});

test.each([
  ['--weight goes with --with', ['--weight', '0.3']],
  ['from 0 to 1', ['--with', tinyModel, '--weight', '2']],
  ['for --method task-arithmetic, not linear', ['--with', tinyModel, '--scale', '2']],
  ['needs --base', ['--with', tinyModel, '--method', 'task-arithmetic']],
  ['do one after the other', ['--with', tinyModel, '--adapter', adapter]],
  ['an adapter is no whole model', ['--with', adapter]],
])('a merge is refused: %s', async (message, options) => {
  const result = await visurf('merge', '--model', tinyModel, '--output', join(temporaryFolder(), 'out'), ...options);
  expect([result.code, result.stderr]).toEqual([2, expect.stringContaining(message)]);
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

test('training goes on with the adapter of a run, and a run is its best checkpoint', async () => {
  const folder = await makeFolder({});
  const config = join(folder, 'config.yaml');
  await visurfJson('train', config, 'train.lora.rank=2', 'optimizer.learningRate=0.1');
  const run = join(folder, 'run');
  const adapted = await total(join(run, 'checkpoints/000001'));
  expect(await total(run)).toBe(adapted);
  const again = [`model=${join(run, 'checkpoints/000001')}`, `output=${join(folder, 'again')}`];
  await visurfJson('train', config, ...again, 'optimizer.learningRate=1e-9', 'objective.kl.coefficient=0.1');
  // A step that changes next to nothing leaves the adapter as it was.
  expect(await total(join(folder, 'again'))).toBeCloseTo(adapted, 3);
  const other = await visurf('train', config, ...again.slice(0, 1), 'output=other', 'train.lora.rank=3');
  expectRefusal(other, 'another rank', 'Leave train.lora out');
  const { memory } = await visurfJson<{ memory: object }>('plan', config, ...again, '--gflops', '100');
  expect(memory).toHaveProperty('peak');
});

test('a checkpoint of a run with LoRA is merged into the model that it started from', async () => {
  const folder = await makeFolder({});
  const lora = ['train.lora.rank=2', 'optimizer.learningRate=0.1', 'steps=2'];
  await visurfJson('train', join(folder, 'config.yaml'), ...lora);
  const checkpoint = join(folder, 'run/checkpoints/000002');
  const output = join(folder, 'merged');
  expect(await visurfJson('merge', '--model', checkpoint, '--output', output)).toMatchObject({ kind: 'model' });
  const [adapted, merged, base] = [await total(checkpoint), await total(output), await total(tinyModel)];
  expect(merged).toBeCloseTo(adapted, 3);
  expect(Math.abs(merged - base)).toBeGreaterThan(0.1);
});

test('what cannot be written is refused, before the model is loaded', async () => {
  const folder = temporaryFolder();
  const file = join(folder, 'mine.txt');
  writeFileSync(file, '');
  const refused = async (output: string, reason: string): Promise<void> =>
    expectRefusal(await visurf('export', '--model', join(folder, 'nothing'), '--output', output), reason, 'another');
  await refused(folder, 'the directory is not empty');
  await refused(file, 'mine.txt: a part of the path is not a directory');
  await refused(join(file, 'below'), 'a part of the path is not a directory');
  const size = await visurf('export', '--model', tinyModel, '--output', folder, '--max-shard-size', 'much');
  expectRefusal(size, 'such as 5GB');
  expect(readdirSync(folder)).toEqual(['mine.txt']);
});

test('what does not belong together is refused, and nothing is written', async () => {
  const output = join(temporaryFolder(), 'output');
  const refused = async (args: readonly string[], ...messages: string[]): Promise<void> => {
    expectRefusal(await visurf(...args, '--output', output), ...messages);
    expect(existsSync(output)).toBe(false);
  };
  await refused(['merge', '--model', tinyModel], 'no adapter to merge');
  await refused(['export', '--model', tinyModel, '--merge'], 'no adapter to merge');
  const another = join(fixtures, 'configurations/qwen2_5-windows/model');
  await refused(['merge', '--model', another, '--adapter', adapter], 'lora_A.weight has shape', 'one of this model');
  await refused(['merge', '--model', tinyModel, '--adapter', tinyModel], 'adapter_config.json');
  await refused(['merge', '--model', adapter, '--adapter', adapter], 'is an adapter itself');
  await refused(['export', '--model', adapter, '--dtype', 'bfloat16'], 'an adapter is written as it is', 'merge');
});
