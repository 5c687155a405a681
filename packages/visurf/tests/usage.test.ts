/** How the command line answers to questions about itself, and to mistakes. */

import { expect, test } from 'vitest';
import { tinyModel, visurf, visurfJson } from './cli.ts';

const COMMANDS = ['demo', 'doctor', 'data check', 'reward check', 'train', 'eval', 'inspect', 'score', 'generate'];

test.each(COMMANDS)('%s has help with an example and --json', async (command) => {
  const { code, stdout } = await visurf(...command.split(' '), '--help');
  expect(code).toBe(0);
  expect(stdout).toContain(`Example:\n  $ visurf ${command}`);
  expect(stdout).toContain('--json');
});

test.each([
  [['trian'], 'Did you mean train?'],
  [[], 'Usage: visurf'],
  [['train'], "missing required argument 'config.yaml'"],
  [['eval', '--model', tinyModel], '--data'],
  [['generate', '--model', tinyModel], 'one of --prompt and --messages'],
  [['generate', '--model', tinyModel, '--prompt', 'a', '--messages', 'b'], '--messages holds the whole conversation'],
  [['generate', '--model', tinyModel, '--prompt', 'a', '--top-p', '2'], 'at most 1'],
  [['generate', '--model', tinyModel, '--prompt', 'a', '--max-new-tokens', '1.5'], 'a whole number'],
  [['generate', '--model', tinyModel, '--prompt', 'a', '--device', 'tpu'], 'Allowed choices are cpu, cuda'],
  [['score', '--model', tinyModel, '--prompt', 'a'], 'one of --response and --response-ids'],
  [['score', '--model', tinyModel, '--prompt', 'a', '--response-ids', '1,x'], 'a whole number'],
  [['score', '--model', tinyModel, '--prompt', 'a', '--response-ids', '1,9999'], '9999 is no token'],
])('bad usage is answered with exit code 2: %j', async (args, message) => {
  const { code, stdout, stderr } = await visurf(...args);
  expect(stderr).toContain(message);
  expect([code, stdout]).toEqual([2, '']);
});

test('doctor says what was found', async () => {
  const found = await visurfJson<{
    node: string;
    torch: { version: string };
    libtorchPath: string;
    optional: unknown[];
  }>('doctor');
  expect(found.node).toBe(process.version);
  expect(Number(found.torch.version.split('.')[1])).toBeGreaterThanOrEqual(9);
  expect(found.libtorchPath).toContain('libtorch');
  expect(found.optional).toContainEqual(expect.objectContaining({ name: 'GPU', found: expect.any(Boolean) }));
});
