/** How the command line answers to questions about itself, and to mistakes. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, fixtures, temporaryFolder, tinyModel, visurf, visurfJson } from './cli.ts';

const COMMANDS = [
  ...['demo', 'doctor', 'data check', 'reward check', 'train', 'eval', 'inspect', 'score', 'generate', 'merge'],
  'export',
];

test('help lists every command', async () => {
  const { code, stdout } = await visurf('--help');
  for (const command of [...COMMANDS, 'chat'])
    expect(stdout).toMatch(new RegExp(`^ {2}${command.split(' ')[0]!}\\b`, 'm'));
  expect(code).toBe(0);
});

test.each(COMMANDS)('%s has help with an example and --json', async (command) => {
  const { code, stdout } = await visurf(...command.split(' '), '--help');
  expect(code).toBe(0);
  expect(stdout).toContain(`Example:\n  $ visurf ${command}`);
  expect(stdout).toContain('--json');
  if (/^(train|eval|score|generate|demo)$/.test(command)) {
    expect(stdout).toContain('--device');
    expect(stdout).toContain('--precision');
  }
});

const ask = ['--model', tinyModel, '--prompt', 'a'];

test.each([
  [['trian'], 'Did you mean train?'],
  [['nothing'], "unknown command 'nothing'"],
  [['data', 'chekc', 'x'], 'Did you mean check?'],
  [['train'], "missing required argument 'config.yaml'"],
  [['train', '--config', 'config.yaml'], 'The configuration is an argument: visurf train config.yaml'],
  [
    ['train', 'config.yaml', '--learning_rate', '1'],
    'Did you mean optimizer.learningRate? Keys are given as key=value.',
  ],
  [['plan', 'config.yaml', '--num-generations=8'], 'Did you mean rollout.group?'],
  [['train', 'config.yaml', '--resume_from_checkpoint'], 'A run goes on with --resume'],
  [['train', 'config.yaml', '--resum'], 'Did you mean --resume?'],
  [['eval', '--model', tinyModel], "required option '--data <file.jsonl>'"],
  [['generate', '--model', tinyModel, '--json'], 'one of --prompt and --messages'],
  [['generate', ...ask, '--messages', 'b'], '--messages holds the whole conversation'],
  [['generate', ...ask, '--temprature', '1'], 'Did you mean --temperature?'],
  [['generate', ...ask, '--temperature', '-1'], 'at least 0'],
  [['generate', ...ask, '--top-p', '2'], 'at most 1'],
  [['generate', ...ask, '--top-k', '-1'], 'a whole number, at least 0'],
  [['generate', ...ask, '--repetition-penalty', '0'], 'a number above 0'],
  [['generate', ...ask, '--max-new-tokens', '1.5'], 'a whole number'],
  [['generate', ...ask, '--seed', 'x'], 'a whole number'],
  [['generate', ...ask, '--device', 'tpu'], 'Allowed choices are cpu, cuda'],
  [['score', ...ask, '--response', 'a', '--precision', 'float16'], 'Allowed choices are float32, bfloat16, float64'],
  [['score', ...ask], 'one of --response and --response-ids'],
  [['score', ...ask, '--response', 'a', '--response-ids', '1'], 'one of --response and --response-ids'],
  [['score', ...ask, '--response-ids', '1,x'], 'a whole number'],
  [['score', ...ask, '--response-ids', '1,9999'], '9999 is no token'],
  [['score', ...ask, '--response', ''], 'the response is empty'],
])('bad usage is answered with exit code 2: %j', async (args, message) => {
  expectRefusal(await visurf(...args), message);
});

test('no command at all is answered with the help', async () => {
  const { code, stdout, stderr } = await visurf();
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).toContain('Usage: visurf');
});

test.each([
  ['that is missing', undefined, 'no such file'],
  ['that is not JSON', '{', 'malformed JSON'],
  ['that is empty', '[]', 'Expected [{"role"'],
  ['with an unknown role', '[{"role": "usr", "content": "a"}]', '0.role'],
  [
    'with an image that is missing',
    '[{"role":"user","content":[{"type":"image","image":"b.png"}]}]',
    'b.png: image file not found',
  ],
])('a messages file %s', async (_, text, message) => {
  const file = join(temporaryFolder(), 'messages.json');
  if (text !== undefined) writeFileSync(file, text);
  const outcome = await visurf('inspect', '--model', tinyModel, '--messages', file, '--json');
  expectRefusal(outcome, message, text?.includes('b.png') ? 'b.png' : 'messages.json');
});

test('a model that is none, and an image that is none', async () => {
  const none = join(fixtures, 'images');
  expectRefusal(
    await visurf('inspect', '--model', none, '--prompt', 'a'),
    none,
    'no config.json',
    'Hugging Face layout',
  );
  const image = join(tinyModel, 'config.json');
  expectRefusal(await visurf('inspect', ...ask, '--image', image), `${image}: not an image`, 'Convert it to PNG');
});

test('doctor says what was found', async () => {
  const found = await visurfJson<{
    node: string;
    torch: { version: string; kernels: string };
    kernels: { float32: number; levels: string[] };
    libtorchPath: string;
    optional: unknown[];
  }>('doctor');
  expect(found.node).toBe(process.version);
  expect(Number(found.torch.version.split('.')[1])).toBeGreaterThanOrEqual(9);
  expect(found.libtorchPath).toContain('libtorch');
  expect(found.kernels.levels).toContain(found.torch.kernels.toLowerCase());
  expect(found.kernels.float32).toBeGreaterThan(0);
  expect(found.optional).toContainEqual(expect.objectContaining({ name: 'GPU', found: expect.any(Boolean) }));
});
