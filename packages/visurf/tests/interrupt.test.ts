/** Every command ends within a second of a signal, whatever it is doing, says what to do next, and leaves nothing half done. */

import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Command } from 'commander';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { held, inTrials } from '../../core/src/testing/reliability.ts';
import { createProgram } from '../src/cli/program.ts';
import { finished, fixtures, root, tinyModel } from './cli.ts';
import { good, linesOf, usual } from './training.ts';

/** What a command is asked to do, for long; names of files are of a folder that `prepare` has filled. */
interface Work {
  readonly args: readonly string[];
  /** Milliseconds after the start; what standard error says, or a file that is there, and milliseconds after that. */
  readonly moments: readonly (number | readonly [text: string, after: number])[];
  /** Whether what was begun may be there, since the command goes on with it. */
  readonly goesOn?: true;
  /** Whether all that it makes may be there, where it was as good as done. */
  readonly isWhole?: true;
  /** Whether it takes two signals. */
  readonly twice?: true;
  /** Whether a step may have to be saved, which waits for the pass through the model that it is in: it is said in time. */
  readonly saves?: true;
}

/** Whether a process handles signals by now: before that they end it. */
function isBorn(pid: number | undefined): boolean {
  if (process.platform !== 'linux') return true;
  const [, caught = '0'] = /SigCgt:\s*(\w+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return (BigInt(`0x${caught}`) & 2n) > 0n;
}

const model = ['--model', tinyModel];
const asked = [...model, '--image', 'a.png', '--prompt', 'the red circle'];
const pope = ['--benchmark', 'pope', '--data', 'pope'];
/** One pass over it takes long. */
const longText = 'red '.repeat(30_000);
const starts = [80, 300, 900];

/** By the name of the command: one that is not here fails the first test. */
const WORK: Readonly<Record<string, readonly Work[]>> = {
  demo: [{ args: ['demo', '--quick', '--output', 'out'], moments: [...starts, 2500, 6000], goesOn: true }],
  doctor: [{ args: ['doctor'], moments: starts }],
  'data check': [
    { args: ['data', 'check', 'many.jsonl'], moments: [...starts, 1800] },
    { args: ['data', 'check', 'list.json'], moments: [700, 1500] },
  ],
  'data import': [
    { args: ['data', 'import', 'many.jsonl', '--output', 'made/x.jsonl'], moments: [...starts, 1800, 3000] },
  ],
  'data split': [{ args: ['data', 'split', 'many.jsonl', '--output', 'parts'], moments: [...starts, 1800, 3000] }],
  'data preview': [
    {
      args: ['data', 'preview', 'many.jsonl', '--output', 'page.html', '--limit', '100000'],
      moments: [...starts, 3000],
    },
  ],
  'reward check': [{ args: ['reward', 'check', 'many.jsonl', ...model], moments: [...starts, 2500] }],
  plan: [{ args: ['plan', 'config.yaml', 'data.train=many.jsonl'], moments: [...starts, 2000] }],
  train: [
    { args: ['train', 'config.yaml', 'data.train=many.jsonl'], moments: [...starts, 2000] },
    {
      args: ['train', 'config.yaml'],
      moments: [
        ['training', 0],
        ['training', 150],
        ['training', 700],
      ],
      goesOn: true,
      saves: true,
    },
    {
      args: ['train', 'config.yaml', 'rollout.maxNewTokens=6000', 'data.train=long.jsonl', 'rollout.group=2'],
      moments: [
        ['samples', 300],
        ['samples', 1500],
      ],
      goesOn: true,
      saves: true,
    },
    {
      args: ['train', 'config.yaml', 'paradigm=sft', 'data.train=long.jsonl'],
      moments: [
        ['training', 300],
        ['training', 1100],
      ],
      ...{ goesOn: true, saves: true },
    },
    {
      args: ['train', 'config.yaml', 'eval.every=1', 'data.validation=few.jsonl', 'rollout.maxNewTokens=2000'],
      moments: [['training', 500]],
      goesOn: true,
      saves: true,
    },
  ],
  eval: [
    { args: ['eval', ...model, '--data', 'many.jsonl'], moments: [...starts, 2000] },
    {
      args: ['eval', ...model, '--data', 'few.jsonl', '--max-new-tokens', '30000', '--output', 'made.jsonl'],
      moments: [3000],
    },
    { args: ['eval', ...pope, '--questions', 'asked.jsonl'], moments: [...starts, 1300] },
    {
      args: ['eval', ...pope, '--predictions', 'answers.jsonl', '--output', 'marks.jsonl'],
      moments: [700, 1200, 2000],
    },
    { args: ['eval', ...pope, ...model, '--output', 'given.jsonl'], moments: [900, 3000], goesOn: true },
  ],
  compare: [
    { args: ['compare', 'comparison.yaml'], moments: [...starts, 2500, 5000], goesOn: true },
    { args: ['compare', 'comparison.yaml', 'epochs=3', 'data.train=many.jsonl', '--dry-run'], moments: [900, 2000] },
  ],
  inspect: [{ args: ['inspect', ...asked], moments: starts }],
  score: [{ args: ['score', ...asked, '--response', longText], moments: [...starts, 2500] }],
  generate: [
    { args: ['generate', ...asked, '--max-new-tokens', '100000'], moments: [...starts, 2500] },
    { args: ['generate', ...model, '--prompt', longText, '--max-new-tokens', '9'], moments: [1500, 3000] },
    { args: ['generate', ...asked, '--max-new-tokens', '100000', '--json'], moments: [3000] },
  ],
  // One stops an answer.
  chat: [{ args: ['chat', ...model], moments: starts, twice: true }],
  merge: [
    { args: ['merge', ...model, '--with', tinyModel, '--output', 'merged'], moments: [...starts, 1100], isWhole: true },
  ],
  export: [{ args: ['export', ...model, '--output', 'exported'], moments: [...starts, 1100], isWhole: true }],
};

vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), 'visurf-interrupt-'));
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(() => {
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);
  copyFileSync(join(fixtures, 'images/small-40x40.png'), join(folder, 'a.png'));
  const many = Array.from({ length: 150_000 }, (_, i) => ({ ...good, id: String(i) }));
  write('many.jsonl', linesOf(many));
  write('list.json', JSON.stringify(many.map((each) => ({ ...each, more: 'x'.repeat(300) }))));
  write('few.jsonl', linesOf(many.slice(0, 8)));
  write('long.jsonl', linesOf([{ ...good, problem: 'red '.repeat(8000) }]));
  const config = usual.replace('steps: 1', 'steps: 100000').replace('train: train.jsonl', 'train: few.jsonl');
  write('config.yaml', config.replace('data:\n', 'data:\n  maxPromptTokens: 100000\n'));
  write(
    'comparison.yaml',
    'config: config.yaml\noutput: compared\nseeds: [0, 1]\nruns: { sft: {}, visurf: {} }\ndata: { test: few.jsonl }\n',
  );
  mkdirSync(join(folder, 'pope/val2014'), { recursive: true });
  copyFileSync(join(folder, 'a.png'), join(folder, 'pope/val2014/a.png'));
  const ids = Array.from({ length: 100_000 }, (_, i) => i);
  const asks = linesOf(ids.map((id) => ({ question_id: id, image: 'a.png', text: 'Is there a dog?', label: 'yes' })));
  for (const name of ['random', 'popular', 'adversarial']) write(`pope/coco_pope_${name}.json`, asks);
  const answers = ['random', 'popular', 'adversarial'].flatMap((name) =>
    ids.map((id) => ({ id: `${name}-${id}`, text: 'Yes' })),
  );
  write('answers.jsonl', linesOf(answers));
});

const leaves = (program: Command, before: readonly string[] = []): string[] =>
  program.commands.flatMap((each) => {
    const path = [...before, each.name()];
    return each.commands.length > 0 ? leaves(each, path) : [path.join(' ')];
  });

test('every command of the program is tried', () => {
  expect(Object.keys(WORK).sort()).toEqual(leaves(createProgram()).sort());
});

/** What is in the folder but for what was found out about data, which may be deleted. */
const found = (): string[] =>
  readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => !name.includes('.visurf-cache'))
    .sort();

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type Moment = Work['moments'][number];

/**
 * Sends a signal at a moment.
 * @returns how it ended, after how many milliseconds, and after how many it said something; undefined: it had ended before
 */
async function stopped(
  { args, twice }: Pick<Work, 'args' | 'twice'>,
  moment: Moment,
  signal: (typeof SIGNALS)[number],
) {
  const child = spawn(join(root, 'visurf'), args, { cwd: folder, stdio: ['pipe', 'pipe', 'pipe'] });
  const outcome = finished(child);
  const ended = outcome.then(() => true);
  if (typeof moment === 'number') await Promise.race([setTimeout(moment), ended]);
  else {
    const said = new Promise((resolve) => {
      child.stderr.on('data', (chunk: Buffer) => chunk.toString().includes(moment[0]) && resolve(undefined));
    });
    await Promise.race([said, ended]);
    await Promise.race([setTimeout(moment[1]), ended]);
  }
  if (child.exitCode !== null) return undefined;
  const started = performance.now();
  const wasBorn = isBorn(child.pid);
  let heard = Infinity;
  child.stderr.once('data', () => (heard = performance.now() - started));
  child.kill(signal);
  if (twice) {
    await Promise.race([setTimeout(200), ended]);
    child.kill(signal);
  }
  const result = await outcome;
  return { ...result, took: performance.now() - started, heard, wasBorn };
}

/** A machine that runs other tests beside is not asked for the second. */
const LIMIT = inTrials(3000, 1000);

const counts = { all: 0, worst: 0 };
const cases = Object.entries(WORK).flatMap(([name, works]) =>
  works.flatMap((work) => work.moments.map((moment) => ({ name, work, moment, at: String(moment) }))),
);
const few = cases.filter(
  ({ name, moment }, i) => cases[i + 1]?.name !== name || typeof moment !== 'number' || i % 4 === 0,
);

test.each(inTrials(few, cases))('$name: $work.args.1 $work.args.2 at $at', async ({ work, moment }) => {
  const before = found();
  const signal = SIGNALS[counts.all++ % SIGNALS.length]!;
  const outcome = await stopped(work, moment, signal);
  if (!outcome) return;
  const { code, stderr, wasBorn } = outcome;
  const took = work.saves ? Math.min(outcome.took, outcome.heard) : outcome.took;
  if (wasBorn)
    expect([code, stderr]).toEqual([130, expect.stringMatching(/stopped[.:] *.*(to|To) (start again|go on)/)]);
  expect(took).toBeLessThan(LIMIT);
  counts.worst = Math.max(counts.worst, took);
  if (!work.goesOn && !work.isWhole) return expect(found()).toEqual(before);
  expect(found().filter((name) => /\.tmp|\.part|lock\.|\.partial/.test(name))).toEqual([]);
  for (const name of readdirSync(folder)) if (!before.includes(name)) rmSync(join(folder, name), { recursive: true });
});

test('what the message of a training says to type goes on with it', { timeout: 60_000 }, async () => {
  for (const moment of [
    ['samples', 200],
    ['training', 50],
    ['training', 900],
  ] as const) {
    const outcome = await stopped({ args: ['train', 'config.yaml', 'output=again'] }, moment, 'SIGTERM');
    const [, said] = /To (?:go on|start again): \S+ (.*)/.exec(outcome?.stderr ?? '') ?? [];
    const next = await stopped({ args: said?.split(' ') ?? [] }, ['training', 0], 'SIGINT');
    expect([said, next?.code]).toEqual([expect.stringContaining('train config.yaml'), 130]);
    rmSync(join(folder, 'again'), { recursive: true });
  }
  held({
    promise:
      'Every command ends within a second of Ctrl-C, SIGTERM and SIGHUP, in whatever phase, with what to do next',
    test: 'packages/visurf/tests/interrupt.test.ts',
    count: counts.all,
    of: 'signals',
    worst: counts.worst,
  });
});
