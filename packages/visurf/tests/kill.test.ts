/** Real trainings, killed at any moment: they end with the bytes of one that was left alone. */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { budget, held, inTrials, random } from '../../core/src/testing/reliability.ts';
import { root, visurf } from './cli.ts';
import { eventsOf, good, makeFolder, usual } from './training.ts';

const CONFIGURATIONS: Readonly<Record<string, string>> = {
  visurf: '',
  LoRA: 'train: { lora: { rank: 2, dropout: 0.1 } }\n',
  SFT: 'paradigm: sft\nrollout: { maxNewTokens: 4 }\n',
  'frozen tower': 'train: { freezeVision: true }\noptimizer: { decay: cosine }\n',
};
const STEPS = 12;

const configOf = (more: string): string => {
  const common = more.includes('rollout') ? usual.replace(/rollout: .*\n/, '') : usual;
  return `${common.replace('steps: 1', `steps: ${STEPS}`)}checkpoint: { every: 2, keep: 2 }\n${more}`;
};

/** All that came of a run, by file; checkpoints and groups by their bytes. */
function result(folder: string): unknown {
  const run = join(folder, 'run');
  const hash = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
  const last = join(run, 'checkpoints', String(STEPS).padStart(6, '0'));
  return {
    steps: eventsOf(run).filter(({ type }) => type === 'step'),
    groups: readdirSync(join(run, 'groups')).map((name) => [name, hash(join(run, 'groups', name))]),
    weights: readdirSync(last).filter((name) => name.endsWith('.safetensors')).map((name) => [name, hash(join(last, name))]), // prettier-ignore
  };
}

/** Begins or goes on with a run, and kills it after so many milliseconds of training. @returns whether it was killed */
async function killed(folder: string, milliseconds: number): Promise<boolean> {
  const args = ['train', join(folder, 'config.yaml'), ...(hasBegun(folder) ? ['--resume'] : [])];
  const child = spawn(join(root, 'visurf'), args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise<boolean>((resolve) => child.on('close', (code) => resolve(code === null)));
  const training = new Promise<void>((resolve) =>
    child.stderr.on('data', (chunk: Buffer) => chunk.toString().includes('learning') && resolve()),
  );
  await Promise.race([training, ended]);
  await Promise.race([setTimeout(milliseconds), ended]);
  child.kill('SIGKILL');
  return ended;
}

const hasBegun = (folder: string): boolean => readdirSync(folder).includes('run');

test('killed again and again', { timeout: 7_200_000 }, async () => {
  const kills = budget(2, 25);
  const names = Object.keys(CONFIGURATIONS).slice(0, inTrials(1, 4));
  let count = 0;
  for (const name of names) {
    const setting = { config: configOf(CONFIGURATIONS[name]!), lines: [good, { ...good, id: 'other', solution: [] }] };
    const [whole, folder] = [await makeFolder(setting), await makeFolder(setting)];
    expect((await visurf('train', join(whole, 'config.yaml'))).code).toBe(0);
    const next = random(count + 1);
    for (let i = 0; i < kills && (await killed(folder, 1200 * next() ** 2)); i++) count++;
    await visurf('train', join(folder, 'config.yaml'), ...(hasBegun(folder) ? ['--resume'] : []));
    expect([name, result(folder)]).toEqual([name, result(whole)]);
  }
  held({
    promise: 'A real training that is killed at any moment ends with the same weights, groups and numbers, bit by bit',
    test: 'packages/visurf/tests/kill.test.ts',
    count,
    of: 'kills',
  });
});
