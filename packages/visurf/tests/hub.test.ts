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

let hub: FakeHub;
beforeEach(async () => {
  hub = await startHub({ 'owner/tiny': { commit, files } });
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
