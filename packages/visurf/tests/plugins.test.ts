/** Tasks and rewards of the user's own, from a file that a configuration names. */

import { cpSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { expectRefusal, temporaryFolder, tinyModel, visurf, visurfJson } from './cli.ts';
import { eventsOf, makeFolder } from './training.ts';

const plugin = `
import { defineReward, defineTask, skip, type Task } from 'visurf';
import { z } from 'zod';

const answer = (text: string): string => text.trim();

export const echo = defineTask({
  name: 'echo',
  parameters: z.strictObject({ floor: z.number().default(0) }),
  create: ({ floor }): Task<string> => ({
    name: 'echo',
    template: 'say {Question}',
    variables: (problem) => ({ Question: problem }),
    parseTruth: ({ solution }) => solution,
    forms: [{ name: 'plain', write: (truth) => truth }],
    recognise: () => 'plain',
    parse: () => ({ wellFormed: true, boxes: [], points: [] }),
    terms: ({ text }, truth) => ({ thinking: 0, accuracy: answer(text) === truth ? 1 : floor }),
    weights: { thinking: 0.5, accuracy: 1 },
    thinkingTerm: 'thinking',
    accuracyTerm: 'accuracy',
    wrongButWellFormed: () => 'wrong',
    nearlyRight: () => undefined,
    evaluate: ({ text }, truth) => ({ right: answer(text) === truth, length: text.length }),
    metrics: (all) => ({ floor: 100 * floor, answers: all.length }),
  }),
});

export const brief = defineReward({
  name: 'brief',
  weight: 0.25,
  async score({ text, isLabel }, sample) {
    if (sample.extra.mute === true && !isLabel) return skip;
    return text.length < 1000 ? 1 : 0;
  },
});
export default defineReward({
  name: 'group',
  weight: 0.125,
  scoreGroup: (answers) => answers.map(() => answers.length),
});
`;

const samples = ['one', 'two', 'three'].map((id) => ({
  id,
  image: 'a.png',
  problem: id,
  solution: id,
  mute: id === 'two',
}));

const configured = (steps: number) =>
  `model: ${tinyModel}\noutput: run\nsteps: ${steps}\npromptsPerStep: 3\nplugins: [./mine.ts]\n` +
  'data: { train: train.jsonl, validation: train.jsonl, task: echo }\ntask: { floor: 0.5 }\n' +
  'rollout: { group: 2, maxNewTokens: 4 }\neval: { every: 1 }\n';

const makeRun = () =>
  makeFolder({
    lines: samples,
    config: configured(1),
    prepare: (folder) => writeFileSync(join(folder, 'mine.ts'), plugin),
  });

// Every test has an account of its own, which knows no plugins.
beforeEach(() => {
  process.env.XDG_STATE_HOME = temporaryFolder();
});

interface Summary {
  readonly metrics: Record<string, number>;
}

test('a task and rewards of the user are trained with, recorded, and measured with wherever the checkpoint is', async () => {
  const folder = await makeRun();
  const config = join(folder, 'config.yaml');
  const trained = await visurfJson<Summary>('train', config);
  expect(trained.metrics).toMatchObject({ floor: 50, answers: 3 });
  const step = eventsOf(join(folder, 'run')).find(({ type }) => type === 'step') as unknown as Summary;
  // The group of two rollouts and the label; of the muted sample the label alone is judged beside none.
  expect(step.metrics).toMatchObject({ skipped: 2, 'reward.brief': 1, 'reward.group': 3 });
  const settings = JSON.parse(readFileSync(join(folder, 'run/best/experiment.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  expect(settings).toMatchObject({
    task: 'echo',
    parameters: { echo: { floor: 0.5 } },
    plugins: [{ name: 'mine.ts', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown }],
    rewards: [
      { name: 'brief', weight: 0.25 },
      { name: 'group', weight: 0.125 },
    ],
  });
  const evaluate = (...args: string[]) =>
    visurf('eval', '--data', join(folder, 'train.jsonl'), '--output', join(folder, 'o.jsonl'), '--json', ...args);
  const best = ['--model', join(folder, 'run/best')];
  const asTrained = await evaluate(...best);
  expect(asTrained.stderr).toContain('plugin mine.ts');
  expect((JSON.parse(asTrained.stdout) as Summary).metrics).toEqual(trained.metrics);

  // The account of somebody else has never been told of the plugin: a checkpoint alone starts no program.
  process.env.XDG_STATE_HOME = temporaryFolder();
  expectRefusal(await evaluate(...best), 'trained with the plugin mine.ts, which is not known here', '--plugin FILE');
  renameSync(join(folder, 'mine.ts'), join(folder, 'moved.ts'));
  mkdirSync(join(folder, 'plugins'));
  cpSync(join(folder, 'moved.ts'), join(folder, 'plugins/mine.ts'));
  const named = await evaluate(...best, '--plugin', join(folder, 'plugins/mine.ts'));
  expect((JSON.parse(named.stdout) as Summary).metrics).toEqual(trained.metrics);
});

test('a run goes on with its rewards, is warned of changed ones, and refuses to go on without', async () => {
  const folder = await makeRun();
  const config = join(folder, 'config.yaml');
  await visurfJson('train', config);
  writeFileSync(join(folder, 'mine.ts'), plugin.replace('0.25', '0.5'));
  const changed = await visurf('train', config, 'steps=2', '--resume');
  expect(changed.stderr).toMatch(/warning: the plugin mine\.ts is not what it was/);
  expect(changed.stderr).toMatch(/warning: the reward "brief" is not what it was/);
  expect(changed.code).toBe(0);
  const warned = eventsOf(join(folder, 'run')).filter(({ type }) => type === 'warning');
  expect(warned.map(({ message }) => message)).toContain('the reward "brief" is not what it was when the run began');

  writeFileSync(join(folder, 'mine.ts'), plugin.replace('export const brief', 'const brief'));
  expectRefusal(
    await visurf('train', config, 'steps=3', '--resume', '--json'),
    'was trained with the reward "brief", which is missing now',
  );
});

test('reward check runs them', async () => {
  const folder = await makeRun();
  const [config, data] = [join(folder, 'config.yaml'), join(folder, 'train.jsonl')];
  const won = await visurfJson<{ losing: unknown[] }>('reward', 'check', data, '--config', config);
  expect(won.losing).toEqual([]);
  writeFileSync(join(folder, 'mine.ts'), plugin.replace('? 1 : 0;\n', "? (text === 'wrong' ? 9 : 0) : 0;\n"));
  const lost = await visurfJson<{ losing: unknown[] }>('reward', 'check', data, '--config', config);
  // The rival of the muted sample is skipped.
  expect(lost.losing).toHaveLength(2);
});

test.each<[string, string, readonly (string | RegExp)[]]>([
  ['is missing', '', ['no such file', 'mine.ts']],
  ['exports nothing of use', 'export const a = 1;', ['exports no task and no reward', 'defineReward']],
  ['fails', 'throw new Error("no luck");', ['failed to load: no luck']],
  ['waits', 'export const a = await 1;', ['failed to load', 'no await outside of functions']],
  ['takes a name', plugin.replaceAll("'echo'", "'math'"), ['there already is a task named "math"']],
  ['gives no number', plugin.replace('text.length < 1000 ? 1 : 0', 'NaN'), ['train.jsonl:1 (one)', '"brief" is NaN']],
])('a plugin that %s is explained', async (_, text, messages) => {
  const folder = await makeFolder({
    lines: samples,
    config: configured(1),
    prepare: (made) => text !== '' && writeFileSync(join(made, 'mine.ts'), text),
  });
  expectRefusal(await visurf('train', join(folder, 'config.yaml'), '--json'), ...messages);
}); // prettier-ignore
