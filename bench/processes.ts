/**
 * What a second process brings: steps of 8 prompts by one process and by two, a thread each, and steps of 4 prompts by
 * one. Two processes with 4 prompts each have as much to compute as that: what they take longer is what they spend on each
 * other, exchange and waiting. Fills in the table of docs/distributed.md.
 *
 *     node bench/processes.ts            a few minutes; --steps 4 --dry: a look
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { BASE_MODEL, generateDataset } from '@visurf/mini-grounding';
import { describeMachine } from './machine.ts';

const { values: options } = parseArgs({
  options: { steps: { type: 'string', default: '12' }, dry: { type: 'boolean', default: false } },
});
const root = join(import.meta.dirname, '..');
const PROMPTS = 8;
/** What is trained, and how processes add it up. */
const TRAINED: Readonly<Record<string, string>> = {
  'all weights (ZeRO-2)': '',
  'LoRA of rank 16 (all-reduce)': 'train: { lora: { rank: 16 } }\n',
};

const folder = mkdtempSync(join(tmpdir(), 'visurf-processes-'));

/** Seconds of the fastest step but the first: other programs of the machine make steps slower, never faster. */
function secondsOf(more: string, processes: number, prompts: number): number {
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `model: ${BASE_MODEL}\noutput: run\nsteps: ${options.steps}\npromptsPerStep: ${prompts}\n` +
      'data: { train: data/train.jsonl }\nrollout: { group: 8, maxNewTokens: 48 }\n' +
      `train: { microBatch: { prompts: 2 } }\n${more}`.replace(
        'train: { microBatch: { prompts: 2 } }\ntrain: {',
        'train: { microBatch: { prompts: 2 },',
      ),
  );
  rmSync(join(folder, 'run'), { recursive: true, force: true });
  execFileSync(join(root, 'visurf'), ['train', config, '--processes', String(processes), '--json'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, OMP_NUM_THREADS: '1' },
  });
  const events = readFileSync(join(folder, 'run/events.jsonl'), 'utf8').trim().split('\n');
  const steps = events
    .map((line) => JSON.parse(line) as { type: string; seconds: Readonly<Record<string, number>> })
    .filter(({ type }) => type === 'step')
    .slice(1);
  return Math.min(...steps.map(({ seconds }) => Object.values(seconds).reduce((a, b) => a + b, 0)));
}

try {
  await generateDataset(join(folder, 'data'), { seed: 3, images: { train: 32, validation: 0, test: 0 } });
  const rows = Object.entries(TRAINED).map(([name, more]) => {
    const [one, two, half] = [
      secondsOf(more, 1, PROMPTS),
      secondsOf(more, 2, PROMPTS),
      secondsOf(more, 1, PROMPTS / 2),
    ];
    const cells = [
      ...[name, ...[one, two].map((seconds) => `${seconds.toFixed(2)} s`)],
      ...[`${(one / two).toFixed(2)}x`, `${half.toFixed(2)} s`, `${((100 * (two - half)) / two).toFixed(0)}%`],
    ];
    return `| ${cells.join(' | ')} |`;
  });
  const { cpu } = describeMachine();
  const table = [
    `${cpu}; the fastest of ${options.steps} steps each; load of the machine ${loadavg()[1]!.toFixed(0)}.`,
    '',
    '| trained | 1 process | 2 processes | times as fast | 1 process, half the prompts | of a step for each other |',
    `|${' --- |'.repeat(6)}`,
    ...rows,
  ].join('\n');
  console.log(table);
  if (!options.dry) {
    const page = join(root, 'docs/distributed.md');
    const text = readFileSync(page, 'utf8').replace(
      /(?<=<!-- measured -->\n)[^]*?(?=<!-- end -->)/,
      () => `\n${table}\n\n`,
    );
    writeFileSync(page, text);
  }
} finally {
  rmSync(folder, { recursive: true });
}
