/** Configurations that cannot be used: file and line, or the override, and what to write instead. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, temporaryFolder, visurf } from './cli.ts';
import { expectNoTraining, makeFolder, usual } from './training.ts';
import type { Setting } from './training.ts';

test.each<readonly [string, Setting, readonly (string | RegExp)[]]>([
  [
    'an unknown key',
    { config: `${usual}optimiser: { name: sgd }\n` },
    [/config\.yaml:8: unknown key optimiser/, 'Did you mean optimizer?'],
  ],
  [
    'an unknown key in a map',
    { config: `${usual}label:\n  smoth: true\n` },
    [/config\.yaml:9: .*label\.smoth/, 'Did you mean label.smooth?'],
  ],
  [
    'an unknown key in an override',
    { args: ['rollout.grup=3'] },
    ['override rollout.grup=3', 'Did you mean rollout.group?'],
  ],
  [
    'an unknown map in an override',
    { args: ['sampling.group=3'] },
    ['override sampling.group=3: unknown key sampling'],
  ],
  [
    'an unknown parameter of the task',
    { args: ['task.weight=3'] },
    ['override task.weight=3', 'Did you mean task.weights?'],
  ],
  ['a value of the wrong kind', { args: ['steps=many'] }, ['override steps=many', 'expected number']],
  ['a number out of range', { args: ['steps=0'] }, ['override steps=0', '>0']],
  ['a choice that is none', { args: ['paradigm=visurv'] }, ['override paradigm=visurv', '"visurf"']],
  ['an override that is none', { args: ['steps'] }, ['override steps: not of the form key=value', 'Example: ']],
  ['an unknown task', { args: ['data.task=groundin'] }, ['no task named "groundin"', 'grounding']],
  ['a prompt that is no template', { args: ['data.prompt=find it'] }, ['no such file', '{Question}']],
  ['keys that contradict each other', { args: ['paradigm=rlvr', 'rollout.group=1'] }, ['group must be at least 2']],
  [
    'a change that the paradigm does not use',
    { args: ['paradigm=sft', 'rollout.group=3'] },
    [/override rollout\.group=3: the paradigm sft does not use rollout\.group; used by: visurf, rlvr, /],
  ],
  ['evaluation without data', { args: ['eval.every=1'] }, ['evaluation needs data.validation']],
  ['a device that is not there', { args: ['--device', 'cuda'] }, ['no CUDA GPU', 'Use device cpu']],
  ['a GPU by number that is not there', { args: ['device=cuda:1'] }, ['device cuda:1', 'no CUDA GPU']],
  ...['gpu', 'cuda:', 'cuda:-1', 'CPU', 'cuda:01', '0'].map((name): [string, Setting, string[]] => [
    `the device ${name}`,
    { args: [`device=${name}`] },
    [`override device=${name}`, 'cpu, cuda, cuda:N, auto'],
  ]),
  [
    'several mistakes',
    { config: 'model: m\nstepps: 3\n' },
    [
      '4 mistakes',
      'config.yaml:2: unknown key stepps (Did you mean steps?)',
      /missing key output/,
      /missing key data/,
      /missing key steps/,
    ],
  ],
  ['YAML that is none', { config: 'model: m\nsteps: [1,\noutput: x\n' }, [/config\.yaml:[23]: /]],
  ['a key twice', { config: 'model: m\nmodel: n\n' }, ['config.yaml:2: ', 'unique']],
  ['a list', { config: '- model\n' }, ['config.yaml:1: must hold keys and values']],
  ['an empty file', { config: '' }, ['4 mistakes', 'missing key model']],
  ['no text', { config: Buffer.from([0xff, 0xfe, 0, 1]) }, ['config.yaml:1: ']],
])('%s', async (_, setting, messages) => {
  await expectNoTraining(setting, ...messages);
});

test('a configuration that is not there, or is a folder', async () => {
  const folder = temporaryFolder();
  expectRefusal(await visurf('train', join(folder, 'none.yaml')), 'none.yaml: no such file');
  expectRefusal(await visurf('train', folder), `${folder} is data, no configuration`);
});

test.each([
  ['a file', (folder: string) => writeFileSync(join(folder, 'x'), ''), 'x', 'not a directory'],
  ['below a file', (folder: string) => writeFileSync(join(folder, 'x'), ''), 'x/y/z', 'not a directory'],
  [
    'a folder with something else in it',
    (folder: string) => mkdirSync(join(folder, 'x/y'), { recursive: true }),
    'x',
    'the directory is not empty',
  ],
])('an output directory that is %s', async (_, prepare, name, reason) => {
  await expectNoTraining({ prepare, args: [`output=$/${name}`] }, reason, 'Choose another output');
});

test.runIf(process.platform === 'linux')('an output directory where nothing can be made', async () => {
  await expectNoTraining({ args: ['output=/proc/run'] }, '/proc/run', 'Choose another output');
});

test('a run to resume that is not there', async () => {
  await expectNoTraining({ args: ['--resume'] }, 'there is no run to resume', 'without resuming');
});

test('an output directory that holds a run', async () => {
  const folder = await makeFolder({});
  const config = join(folder, 'config.yaml');
  expect((await visurf('train', config)).code).toBe(0);
  expectRefusal(
    await visurf('train', config),
    `${folder}/run: there already is a run here`,
    '--resume',
    'another output',
  );
  expectRefusal(
    await visurf('train', config, '--resume', 'optimizer.learningRate=0.5', 'steps=2'),
    ...['differs from that of the run in: optimizer.learningRate\n', 'Resume with the same values'],
  );
});
