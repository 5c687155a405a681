/** What is there already is lost by no command that is not told to: it is kept, or named with what to do. */

import type { Command } from 'commander';
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { createProgram } from '../src/cli/program.ts';
import { expectRefusal, fixtures, tinyModel, visurfIn } from './cli.ts';
import { good, linesOf, makeFolder } from './training.ts';

vi.setConfig({ testTimeout: 300_000 });

/** Something that took somebody long. */
const PRECIOUS = 'mine\n';

interface Writing {
  /** Typed in a folder with what it needs; a place in it is taken. */
  readonly args: readonly string[];
  readonly taken: string;
  /** Whether it is kept beside what takes its place; the others say that they need another place. */
  readonly kept?: true;
}

const model = ['--model', tinyModel];
const asking = ['predict', ...model, '--image', 'a.png', '--problem', 'red', '--max-new-tokens', '4'];
const pope = ['eval', '--benchmark', 'pope', '--data', 'pope'];

/** By the command, and its option that names the place. */
const WRITINGS: Readonly<Record<string, Writing>> = {
  init: { args: ['init', 'set', ...model, '--no-probe', '--no-open'], taken: 'config.yaml' },
  'data import --output': { args: ['data', 'import', 'train.jsonl', '--output', 'x.jsonl'], taken: 'x.jsonl', kept: true }, // prettier-ignore
  'data split --output': {
    ...{ args: ['data', 'split', 'train.jsonl', '--output', 'parts', '--validation', '50%'], kept: true },
    taken: 'parts/validation.jsonl',
  },
  'data preview --output': { args: ['data', 'preview', 'train.jsonl', '--output', 'x.html'], taken: 'x.html', kept: true }, // prettier-ignore
  'train --profile': { args: ['train', 'config.yaml', '--profile', 'trace.json'], taken: 'trace.json', kept: true },
  'eval --output': {
    ...{ args: ['eval', ...model, '--data', 'train.jsonl', '--output', 'x.jsonl', '--max-new-tokens', '4'] },
    ...{ taken: 'x.jsonl', kept: true },
  },
  'eval --questions': { args: [...pope, '--questions', 'x.jsonl'], taken: 'x.jsonl', kept: true },
  'predict --output': { args: [...asking, '--output', 'x.jsonl'], taken: 'x.jsonl' },
  'predict --draw': { args: [...asking, '--draw', 'drawn'], taken: 'drawn/a.png', kept: true },
  'merge --output': { args: ['merge', ...model, '--with', tinyModel, '--output', 'out'], taken: 'out/a' },
  'export --output': { args: ['export', ...model, '--output', 'out'], taken: 'out/a' },
  'fetch --output': { args: ['fetch', 's3://lab/cars', '--output', 'out'], taken: 'out/a' },
  'demo --output': { args: ['demo', '--quick', '--output', 'out'], taken: 'out/a' },
  'studio export --output': { args: ['studio', 'export', 'run', '--output', 'x.html'], taken: 'x.html', kept: true },
};

const PLACES = ['--output', '--questions', '--draw', '--profile'];

/** Every option of every command that names a place to write to. */
const named = (command: Command, before: readonly string[] = []): string[] =>
  command.commands.flatMap((each) => {
    const path = [...before, each.name()];
    const own = each.options.flatMap(({ long }) => (PLACES.includes(long ?? '') ? [[...path, long].join(' ')] : []));
    return [...own, ...named(each, path)];
  });

test('every place that a command writes to is tried', () => {
  const places = Object.keys(WRITINGS).filter((each) => each.includes('--'));
  expect(named(createProgram()).sort()).toEqual(places.sort());
});

async function folderWith(taken: string): Promise<string> {
  const lines = ['a', 'b'].map((name) => ({ ...good, id: name, image: `${name}.png` }));
  const folder = await makeFolder({ lines });
  copyFileSync(join(fixtures, 'images/flat-90x60.png'), join(folder, 'b.png'));
  mkdirSync(join(folder, 'set'));
  for (const name of ['a.png', 'b.png', 'train.jsonl']) cpSync(join(folder, name), join(folder, 'set', name));
  mkdirSync(join(folder, 'pope/val2014'), { recursive: true });
  copyFileSync(join(folder, 'a.png'), join(folder, 'pope/val2014/a.png'));
  const asked = linesOf([{ question_id: 1, image: 'a.png', text: 'Is there a dog?', label: 'yes' }]);
  for (const name of ['random', 'popular', 'adversarial']) {
    writeFileSync(join(folder, `pope/coco_pope_${name}.json`), asked);
  }
  mkdirSync(join(folder, 'run/groups'), { recursive: true });
  writeFileSync(join(folder, 'run/config.yaml'), 'model: m\noutput: run\nsteps: 1\ndata: { train: t.jsonl }\n');
  writeFileSync(join(folder, 'run/events.jsonl'), `${JSON.stringify({ type: 'start', step: 0, time: 1 })}\n`);
  mkdirSync(join(folder, taken, '..'), { recursive: true });
  writeFileSync(join(folder, taken), PRECIOUS);
  return folder;
}

const allIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true })
    .map((name) => `${String(name)} ${statSync(join(folder, String(name))).mtimeMs}`)
    .sort();

test.each(Object.entries(WRITINGS))('%s loses nothing that is there', async (_, { args, taken, kept }) => {
  vi.stubEnv('AWS_ENDPOINT_URL', 'http://127.0.0.1:1');
  const folder = await folderWith(taken);
  const [file, copy] = [join(folder, taken), join(folder, `${taken}.1`)];
  const before = allIn(folder);
  const outcome = await visurfIn(folder, ...args);
  if (!kept) {
    expectRefusal(outcome, /already|not empty|holds something else/, /[Cc]hoose|another/);
    expect(outcome.stderr).toContain(taken.split('/')[0]);
    expect(allIn(folder)).toEqual(before);
    return;
  }
  expect([outcome.code, outcome.stderr]).toEqual([
    0,
    expect.stringMatching(`${taken} was there already.*${taken}\\.1`),
  ]);
  expect([readFileSync(copy, 'utf8'), readFileSync(file, 'utf8') === PRECIOUS]).toEqual([PRECIOUS, false]);
});

test('what comes to be the same again is not kept twice, and of what fails nothing is', async () => {
  const folder = await folderWith('x.jsonl');
  const { args } = WRITINGS['data import --output']!;
  for (const copies of [['x.jsonl.1'], ['x.jsonl.1']]) {
    expect((await visurfIn(folder, ...args)).code).toBe(0);
    expect(readdirSync(folder).filter((name) => name.startsWith('x.jsonl.'))).toEqual(copies);
  }
  const made = readFileSync(join(folder, 'x.jsonl'), 'utf8');
  writeFileSync(join(folder, 'train.jsonl'), 'nothing');
  expect((await visurfIn(folder, ...args)).code).toBe(2);
  expect(readFileSync(join(folder, 'x.jsonl'), 'utf8')).toBe(made);
  expect(readdirSync(folder).filter((name) => name.startsWith('x.jsonl.'))).toEqual(['x.jsonl.1']);
});

test('a name that is none, or too long for one, is refused', async () => {
  const folder = await folderWith('x');
  expectRefusal(await visurfIn(folder, 'data', 'split', 'train.jsonl', '--output', ''), '--output names nothing');
  const long = 'x'.repeat(300);
  expectRefusal(await visurfIn(folder, 'export', ...model, '--output', long), 'the name is too long');
  const file = ['eval', ...model, '--data', 'train.jsonl', '--max-new-tokens', '2', '--output', long];
  expectRefusal(await visurfIn(folder, ...file), 'the name is too long');
});

test('no drawing takes the place of the picture that it shows, whatever is said', async () => {
  const folder = await folderWith('x');
  expectRefusal(await visurfIn(folder, ...asking, '--draw', '.'), 'a.png: is a picture that is asked about');
});
