/** Every command ends within a second of a signal, whatever it is doing, says what to do next, and leaves nothing half done. */

import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Command } from 'commander';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { held, inTrials } from '../../core/src/testing/reliability.ts';
import { group, sample, startEvent, stepEvent, writeRun } from '../../studio/src/testkit.ts';
import { createProgram } from '../src/cli/program.ts';
import { finished, fixtures, root, tinyModel } from './cli.ts';
import { Ending, stageOf } from './ending.ts';
import { good, linesOf, usual } from './training.ts';

/** What a command is asked to do, for long; names of files are of a folder that `prepare` has filled. */
interface Work {
  readonly args: readonly string[];
  /** The folder that it is typed in, within that one. */
  readonly in?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds after the start; what it says, and milliseconds after that. */
  readonly moments: readonly (number | readonly [text: string, after: number])[];
  /** Whether what was begun may be there, since the command goes on with it. */
  readonly goesOn?: true;
  /** Whether all that it makes may be there, where it was as good as done. */
  readonly isWhole?: true;
  /** Whether it takes two signals. */
  readonly twice?: true;
  /** Whether it goes on until it is ended, from the first that it says on: a scheduler that ends it has done no harm. */
  readonly serves?: true;
  /** Whether its first thread ends it: a step is to be saved, or what was asked to be finished. */
  readonly saves?: true;
}

const folder = mkdtempSync(join(tmpdir(), 'visurf-interrupt-'));
const environment: Record<string, string | undefined> = {
  ...process.env,
  ...{ XDG_CACHE_HOME: join(folder, '.visurf-cache'), TMPDIR: join(folder, 'tmp'), HF_TOKEN: 'hf_x' },
  VISURF_TRIED: folder,
};

/** Processes that a command has started, and itself. */
const left = (): number[] =>
  process.platform !== 'linux'
    ? []
    : readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .map(Number)
        .filter((pid) => {
          try {
            return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`VISURF_TRIED=${folder}`);
          } catch {
            // It has ended, or is somebody else's.
            return false;
          }
        });

/** What is there before anything is tried. */
let given: readonly string[] = [];

/** What fails must not go on beside the next, nor leave it anything. */
afterEach(() => {
  for (const pid of left()) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }
  for (const name of readdirSync(folder)) if (!given.includes(name)) rmSync(join(folder, name), { recursive: true });
});

const model = ['--model', tinyModel];
const asked = [...model, '--image', 'a.png', '--prompt', 'the red circle'];
const asking = [...model, '--problem', 'the red circle', '--max-new-tokens', '100000'];
const { libtorch } = JSON.parse(readFileSync(join(root, 'packages/torch/build/stamp.json'), 'utf8')) as {
  libtorch: string;
};
/** Where an addon is built that is not the one in use. */
const elsewhere = { VISURF_BUILD: join(folder, 'built'), LIBTORCH: libtorch };
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
  'data split': [
    { args: ['data', 'split', 'many.jsonl', '--output', 'parts'], moments: [...starts, 1800, 3000], isWhole: true },
  ],
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
        ['step ', 0],
        ['step ', 150],
        ['step ', 700],
      ],
      goesOn: true,
      saves: true,
    },
    {
      args: ['train', 'config.yaml', 'rollout.maxNewTokens=3000', 'data.train=long.jsonl', 'rollout.group=2'],
      moments: [
        ['step ', 300],
        ['step ', 1500],
      ],
      goesOn: true,
      saves: true,
    },
    {
      args: ['train', 'config.yaml', 'paradigm=sft', 'data.train=long.jsonl'],
      moments: [
        ['step ', 300],
        ['step ', 1100],
      ],
      ...{ goesOn: true, saves: true },
    },
    {
      args: ['train', 'config.yaml', 'eval.every=1', 'data.validation=few.jsonl', 'rollout.maxNewTokens=2000'],
      moments: [['step ', 500]],
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
    { args: ['eval', ...pope, '--questions', 'asked.jsonl'], moments: [...starts, 1300], isWhole: true },
    {
      args: ['eval', ...pope, '--predictions', 'answers.jsonl', '--output', 'marks.jsonl'],
      moments: [700, 1200, 2000],
      isWhole: true,
    },
    { args: ['eval', ...pope, ...model, '--output', 'given.jsonl'], moments: [900, 3000], goesOn: true },
  ],
  compare: [
    { args: ['compare', 'comparison.yaml'], moments: [...starts, 2500, 5000], goesOn: true },
    {
      args: ['compare', 'comparison.yaml', 'steps=', 'epochs=3', 'data.train=many.jsonl', '--dry-run'],
      moments: [900, 2000],
    },
  ],
  inspect: [{ args: ['inspect', ...asked], moments: starts }],
  score: [{ args: ['score', ...asked, '--response', longText], moments: [...starts, 2500] }],
  generate: [
    { args: ['generate', ...asked, '--max-new-tokens', '100000'], moments: [...starts, 2500] },
    { args: ['generate', ...model, '--prompt', longText, '--max-new-tokens', '9'], moments: [1500, 3000] },
    { args: ['generate', ...asked, '--max-new-tokens', '100000', '--json'], moments: [3000] },
  ],
  init: [{ args: ['init', '../many.jsonl', ...model, '--no-open'], in: 'fresh', moments: [...starts, 2000, 4000] }],
  predict: [
    { args: ['predict', ...asking, '--image', 'a.png'], moments: [...starts, 2500] },
    {
      args: ['predict', ...asking, '--data', 'few.jsonl', '--output', 'said.jsonl', '--draw', 'drawn'],
      moments: [['answering', 500]],
      ...{ goesOn: true, saves: true },
    },
  ],
  serve: [
    { args: ['serve', ...model, '--port', '0'], moments: starts, serves: true },
    { args: ['serve', ...model, '--port', '0'], moments: [['serving', 100]], serves: true, saves: true },
  ],
  studio: [
    { args: ['studio', '.', '--port', '0'], moments: [80, 300], serves: true },
    {
      args: ['studio', '.', '--port', '0'],
      moments: [
        ['http://', 0],
        ['http://', 500],
      ],
      ...{ serves: true, saves: true },
    },
  ],
  fetch: [{ args: ['fetch', 's3://lab/cars', '--output', 'fetched'], moments: [...starts, 2500] }],
  'studio export': [
    { args: ['studio', 'export', 'followed', '--output', 'page.html'], moments: [80, 300, 600, 1000], isWhole: true },
  ],
  follow: [{ args: ['follow', 'followed', '--to', 'tensorboard=boards'], moments: [...starts, 2000], goesOn: true }],
  publish: [{ args: ['publish', tinyModel, '--to', 'me/cars'], moments: [...starts, 2500] }],
  setup: [
    {
      args: ['setup', '--existing'],
      moments: [80, 400, ['libtorch', 0], ['libtorch', 1500]],
      env: elsewhere,
      goesOn: true,
    },
  ],
  // One stops an answer.
  chat: [{ args: ['chat', ...model], moments: starts, twice: true }],
  merge: [
    { args: ['merge', ...model, '--with', tinyModel, '--output', 'merged'], moments: [...starts, 1100], isWhole: true },
  ],
  export: [{ args: ['export', ...model, '--output', 'exported'], moments: [...starts, 1100], isWhole: true }],
};

vi.setConfig({ testTimeout: 60_000 });
/** A hub that never answers. */
const silent = createServer();

afterAll(() => {
  silent.close();
  rmSync(folder, { recursive: true });
});

beforeAll(async () => {
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const nobody = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  Object.assign(environment, {
    ...{ HF_ENDPOINT: nobody, AWS_ENDPOINT_URL: nobody, AWS_ACCESS_KEY_ID: 'x', AWS_SECRET_ACCESS_KEY: 'x' },
  });
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);
  copyFileSync(join(fixtures, 'images/small-40x40.png'), join(folder, 'a.png'));
  const many = Array.from({ length: 150_000 }, (_, i) => ({ ...good, id: String(i), image: `${i % 20}.png` }));
  for (let i = 0; i < 20; i++)
    await sharp({ create: { width: 40, height: 40, channels: 3, background: { r: 12 * i, g: 0, b: 0 } } })
      .png()
      .toFile(join(folder, `${i}.png`));
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
  for (const name of ['fresh', 'tmp']) mkdirSync(join(folder, name));
  const steps = Array.from({ length: 2_000 }, (_, i) => i + 1);
  await writeRun(join(folder, 'followed'), {
    events: [startEvent(), ...steps.map((step) => stepEvent(step))],
    samples: [sample('car')],
    groups: Object.fromEntries(steps.map((step) => [step, [group(step, 'car', [0, 3, 1])]])),
  });
  given = readdirSync(folder);
});

const leaves = (program: Command, before: readonly string[] = []): string[] =>
  program.commands.flatMap((each) => {
    const path = [...before, each.name()];
    return each.commands.length > 0 ? leaves(each, path) : [path.join(' ')];
  });

test('every command of the program is tried', () => {
  // It has a command within, and is one.
  expect(Object.keys(WORK).sort()).toEqual([...leaves(createProgram()), 'studio'].sort());
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
 * @returns how it ended, after how many milliseconds, and what it was by then; no `took`: it had ended before
 */
async function stopped(
  { args, twice, env, saves, in: within = '.' }: Pick<Work, 'args' | 'twice' | 'env' | 'saves' | 'in'>,
  moment: Moment,
  signal: (typeof SIGNALS)[number],
) {
  const child = spawn(join(root, 'visurf'), args, {
    ...{ cwd: join(folder, within), stdio: ['pipe', 'pipe', 'pipe'], env: { ...environment, ...env } },
  });
  const outcome = finished(child);
  const ended = outcome.then(() => true);
  if (typeof moment === 'number') await Promise.race([setTimeout(moment), ended]);
  else {
    let all = '';
    const said = new Promise((resolve) => {
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk: Buffer) => (all += chunk.toString()).includes(moment[0]) && resolve(undefined));
    });
    await Promise.race([said, ended]);
    await Promise.race([setTimeout(moment[1]), ended]);
  }
  if (child.exitCode !== null) return { ...(await outcome), took: undefined, stage: 'born' as const };
  const stage = stageOf(child.pid!);
  const ending = new Ending(child);
  child.kill(signal);
  if (twice) {
    await Promise.race([setTimeout(200), ended]);
    child.kill(signal);
  }
  const result = await outcome;
  return { ...result, took: ending.took(saves === true), stage };
}

/** Milliseconds: a second is what is promised, and counted where the machine does nothing else beside. */
const LIMIT = inTrials(10_000, 1000);
/** Milliseconds in which one ends that has nothing left to do. */
const DONE = 500;

const counts = { all: 0, held: 0, worst: 0 };
const RETRIES = inTrials(1, 0);
const cases = Object.entries(WORK).flatMap(([name, works]) =>
  works.flatMap((work) => work.moments.map((moment) => ({ name, work, moment, at: String(moment) }))),
);
const few = cases.filter(
  ({ name, work, moment }, i) =>
    cases[i + 1]?.name !== name || (typeof moment === 'number' ? i % 4 === 0 : moment === work.moments[0]),
);

// Once more where a disk was slow: `make reliability` tries each once.
test.each(inTrials(few, cases))(
  '$name: $work.args.1 $work.args.2 at $at',
  { retry: RETRIES },
  async ({ work, moment }) => {
    const before = found();
    const signal = SIGNALS[counts.all++ % SIGNALS.length]!;
    const { code, stdout, stderr, stage, took = 0 } = await stopped(work, moment, signal);
    // The signal came too late, or while it was ending.
    const isDone = code === 0 && took < DONE;
    if (work.serves && stdout !== '')
      expect([code, stderr]).toEqual([signal === 'SIGINT' ? 130 : 0, expect.anything()]);
    // Before it is born it has nothing to say.
    else if (!isDone && !(stage !== 'born' && code === null))
      expect([code, stderr]).toEqual([
        130,
        expect.stringMatching(/stopped[.:] *.*((to|To) (start again|go on)|repeat)/),
      ]);
    expect(took).toBeLessThan(LIMIT);
    counts.worst = Math.max(counts.worst, took);
    await expect.poll(left, { timeout: 5000 }).toEqual([]);
    if (!work.goesOn && !work.isWhole && !isDone) expect(found()).toEqual(before);
    // What CMake leaves in its own folder it begins anew.
    expect(found().filter((name) => !name.startsWith('built/') && /\.tmp|\.part|lock\.|\.partial/.test(name))).toEqual(
      [],
    );
    counts.held++;
  },
);

test('what the message of a training says to type goes on with it', async () => {
  for (const after of inTrials([50, 900], [50, 200, 900])) {
    const outcome = await stopped({ args: ['train', 'config.yaml', 'output=again'] }, ['step ', after], 'SIGTERM');
    const [, said] = /To (?:go on|start again): \S+ (.*)/.exec(outcome.stderr) ?? [];
    const next = await stopped({ args: said?.split(' ') ?? [] }, ['step ', 0], 'SIGINT');
    expect([said, next.code]).toEqual([expect.stringContaining('train config.yaml'), 130]);
    rmSync(join(folder, 'again'), { recursive: true });
  }
  // One that did not hold is none that is promised.
  if (RETRIES === 0) expect(counts.held).toBe(counts.all);
  held({
    promise:
      'Every command ends within a second of Ctrl-C, SIGTERM and SIGHUP, in whatever phase, with what to do next',
    test: 'packages/visurf/tests/interrupt.test.ts',
    count: counts.all,
    of: 'signals',
    worst: counts.worst,
  });
});
