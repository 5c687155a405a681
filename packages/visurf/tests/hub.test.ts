/** Models of the hub through the command line, from a server on this machine that answers as the hub does. */

import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { startHub, type FakeHub } from '../../core/src/hub/testkit.ts';
import { expectRefusal, fixtures, temporaryFolder, tinyModel, visurf, visurfJson } from './cli.ts';

const commit = 'a'.repeat(40);
const files = Object.fromEntries(readdirSync(tinyModel).map((name) => [name, readFileSync(join(tinyModel, name))]));
const adapter = join(fixtures, 'tiny-qwen2_5-vl/adapters/language');
const question = ['--prompt', 'red', '--response', 'blue'];

/** An imagefolder of two pictures, of which one is held out. */
const picture = readFileSync(join(fixtures, 'images/small-40x40.png'));
const metadata = (problem: string): Buffer =>
  Buffer.from(`${JSON.stringify({ file_name: 'a.png', problem, solution: [{ bbox_2d: [1, 2, 30, 31] }] })}\n`);
const circles = {
  'README.md': Buffer.from('# circles'),
  'train/metadata.jsonl': metadata('the red circle'),
  'train/a.png': picture,
  'validation/metadata.jsonl': metadata('the circle'),
  'validation/a.png': picture,
};

let hub: FakeHub;
beforeEach(async () => {
  hub = await startHub({ 'owner/tiny': { commit, files }, 'owner/circles': { commit, files: circles } });
  vi.stubEnv('HF_HOME', temporaryFolder());
  vi.stubEnv('HF_ENDPOINT', hub.url);
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HF_HUB_CACHE']) vi.stubEnv(name, undefined);
  onTestFinished(async () => {
    vi.unstubAllEnvs();
    await hub[Symbol.asyncDispose]();
  });
});

test('a model is downloaded once, with a bar, and answers as the directory does', async () => {
  const first = await visurf('score', '--model', 'owner/tiny', ...question, '--json');
  expect(first.code).toBe(0);
  expect(first.stderr).toContain('downloading owner/tiny');
  const directory = await visurfJson('score', '--model', tinyModel, ...question);
  expect(JSON.parse(first.stdout)).toEqual(directory);

  await hub[Symbol.asyncDispose]();
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  const second = await visurf('score', '--model', 'owner/tiny', '--revision', commit, ...question, '--json');
  expect([second.stdout, second.stderr]).toEqual([first.stdout, '']);
});

test('the base of an adapter is found on the hub', async () => {
  const folder = temporaryFolder();
  cpSync(adapter, folder, { recursive: true });
  const file = join(folder, 'adapter_config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...config, base_model_name_or_path: 'owner/tiny' }));
  const scored = await visurfJson('score', '--model', folder, ...question);
  expect(scored).toEqual(await visurfJson('score', '--model', adapter, ...question));
  expect(hub.requests.some((each) => each.endsWith('/model.safetensors'))).toBe(true);
});

test('a model is exported from the hub; what it lacks is said', async () => {
  const output = join(temporaryFolder(), 'copy');
  const args = ['export', '--model', 'owner/tiny', '--output', output];
  expectRefusal(await visurf(...args, '--revision', 'v9'), 'no revision v9');
  expectRefusal(await visurf('export', '--model', 'owner/other', '--output', output), 'no such model on the hub');
  expect(existsSync(output)).toBe(false);
  const { files: written } = await visurfJson<{ files: string[] }>(...args, '--revision', 'main');
  expect(written).toEqual(Object.keys(files).sort());
});

test('a data set is checked, imported, trained on, resumed and evaluated by its name', async () => {
  const folder = temporaryFolder();
  const checked = await visurfJson<{ n: number }>('data', 'check', 'owner/circles', '--validation', 'owner/circles');
  expect(checked).toMatchObject({ n: 1, images: 1, findings: [{ kind: 'leak' }] });
  const output = join(folder, 'train.jsonl');
  const imported = await visurfJson('data', 'import', `owner/circles@${commit}`, '--split', 'val', '--output', output);
  expect(imported).toMatchObject({ format: 'imagefolder', n: 1 });
  expect(JSON.parse(readFileSync(output, 'utf8'))).toMatchObject({ problem: 'the circle' });
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `model: ${tinyModel}\noutput: run\nsteps: 1\npromptsPerStep: 1\ndata:\n  train: owner/circles@${commit}\n` +
      `  validation: owner/circles\neval: { every: 1 }\nrollout: { group: 2, maxNewTokens: 4 }\n`,
  );
  expect((await visurf('train', config)).code).toBe(0);
  expect(readFileSync(join(folder, 'run/config.yaml'), 'utf8')).toContain(`train: owner/circles@${commit}`);
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  hub.requests.length = 0;
  const resumed = await visurf('train', config, 'steps=2', '--resume');
  expect([resumed.code, hub.requests]).toEqual([0, []]);
  const answers = join(folder, 'answers.jsonl');
  const evaluated = ['eval', '--model', join(folder, 'run'), '--data', 'owner/circles', '--output', answers];
  expect(await visurfJson(...evaluated)).toMatchObject({ n: 1 });
  expectRefusal(await visurf('data', 'check', 'owner/other'), 'no such file, and the data set is not in the cache');
  expectRefusal(await visurf('data', 'check', 'none/train.jsonl'), 'no such file');
}, 120_000);
