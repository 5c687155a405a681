/**
 * How much memory loading takes: a random checkpoint with the shapes of the 3B in bfloat16 is written to a temporary
 * directory, loaded in a process of its own, and removed. Fills in docs/loading.md.
 *
 *     node bench/load.ts                 the 3B: needs 20 GB of disk and 12 GB of memory
 *     node bench/load.ts --small         the same code on 0.2 GB, nothing is written down
 */
import { mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { shapesOf3B, writeCheckpoint, type ConfigJson } from './checkpoint.ts';
import { describeMachine } from './machine.ts';
import { statusOf, watch } from './resident.ts';

const { values: options } = parseArgs({
  options: { small: { type: 'boolean', default: false }, load: { type: 'string' }, dtype: { type: 'string' } },
});

if (options.load !== undefined) await load(options.load, options.dtype);
else await measure(options.small);

/** The process that is measured. */
async function load(directory: string, dtype: string | undefined): Promise<void> {
  const { loadModel } = await import('@visurf/core/internals');
  const before = statusOf('self', 'RssAnon');
  const start = performance.now();
  const model = loadModel(directory, { dtype: dtype === 'auto' ? 'auto' : 'float32' });
  const seconds = (performance.now() - start) / 1000;
  const weights = model
    .parameters()
    .reduce((sum, { numel, dtype: own }) => sum + numel * (own === 'bfloat16' ? 2 : 4), 0);
  console.log(JSON.stringify({ before, weights, seconds, after: statusOf('self', 'RssAnon') }));
}

async function measure(small: boolean): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'visurf-load-'));
  const { bavail, bsize } = statfsSync(folder);
  const available = Number(/^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024;
  try {
    if (!small && (bavail * bsize < 20e9 || available < 12e9)) {
      console.error('skipped: the 3B needs 20 GB of free disk and 12 GB of free memory');
      return;
    }
    const config: ConfigJson = small
      ? {
          ...shapesOf3B,
          num_hidden_layers: 1,
          vocab_size: 2048,
          vision_config: { ...shapesOf3B.vision_config, depth: 2, fullatt_block_indexes: [1] },
        }
      : shapesOf3B;
    console.error('writing the checkpoint');
    const file = writeCheckpoint(folder, config, 'BF16');
    const rows: string[] = [];
    const dtypes = small || available > 2.5 * file ? ['auto', 'float32'] : ['auto'];
    for (const dtype of dtypes) {
      const self = fileURLToPath(import.meta.url);
      const result = await watch(process.execPath, [self, '--load', folder, '--dtype', dtype]);
      const { before, weights, seconds } = JSON.parse(result.output) as {
        before: number;
        weights: number;
        seconds: number;
      };
      const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(2);
      const cells = [dtype, gigabytes(file), gigabytes(weights), gigabytes(result.anonymous), gigabytes(before)];
      rows.push(`| ${[...cells, (result.anonymous / weights).toFixed(3), seconds.toFixed(1)].join(' | ')} |`);
      console.error(rows.at(-1));
    }
    if (!small) record(rows);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function record(rows: readonly string[]): void {
  const page = fileURLToPath(new URL('../docs/loading.md', import.meta.url));
  const head =
    '| weights in memory | file, GB | weights, GB | peak anonymous memory, GB | of it before loading, GB | peak / weights | seconds |';
  const { cpu, memoryGb } = describeMachine();
  const table = [`${cpu}, ${memoryGb} GB of memory.`, '', head, `|${' --- |'.repeat(7)}`, ...rows].join('\n');
  const text = readFileSync(page, 'utf8');
  const [begin, end] = ['<!-- measured -->\n', '<!-- end -->'];
  const [front, back] = [text.split(begin)[0] ?? '', text.split(end)[1] ?? ''];
  writeFileSync(page, `${front}${begin}\n${table}\n\n${end}${back}`);
}
