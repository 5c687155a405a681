/**
 * Is `visurf plan` right? Runs short trainings of random checkpoints, each in a process of its own, and compares the
 * highest resident memory and the processor time of a step with what was predicted. Fills in docs/planning.md.
 *
 *     node bench/plan.ts                 all configurations
 *     node bench/plan.ts --only small    those whose name contains the word; nothing is written down
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import type { Plan } from '@visurf/core';

import { sizedModel as model, tinyShapes as tiny, writeCheckpoint, type ConfigJson } from './checkpoint.ts';
import { describeMachine } from './machine.ts';
import { watch } from './resident.ts';

const { values: options } = parseArgs({ options: { only: { type: 'string', default: '' } } });
const root = fileURLToPath(new URL('..', import.meta.url));

const medium = model(
  {
    hidden_size: 512,
    num_hidden_layers: 8,
    num_attention_heads: 8,
    num_key_value_heads: 2,
    intermediate_size: 2048,
    vocab_size: 32_000,
  },
  { hidden_size: 384, depth: 6, num_heads: 6, intermediate_size: 1024, fullatt_block_indexes: [2, 5] },
);
const large = model(
  {
    hidden_size: 1024,
    num_hidden_layers: 14,
    num_attention_heads: 16,
    num_key_value_heads: 4,
    intermediate_size: 3072,
    vocab_size: 32_000,
  },
  { hidden_size: 512, depth: 8, num_heads: 8, intermediate_size: 1536, fullatt_block_indexes: [3, 7] },
);

interface Case {
  readonly name: string;
  readonly model: ConfigJson;
  readonly changes: readonly string[];
  /** Dtype of the checkpoint's file; float32 unless said. */
  readonly dtype?: 'F32' | 'BF16';
}

const shape = (prompts: number, microBatch: number, group: number, tokens: number): string[] => [
  `promptsPerStep=${prompts}`,
  `train.microBatch.prompts=${microBatch}`,
  `rollout.group=${group}`,
  `rollout.maxNewTokens=${tokens}`,
];

const cases: readonly Case[] = [
  { name: 'small, 0.2 million parameters', model: tiny, changes: shape(16, 16, 8, 64) },
  { name: 'medium, 77 million', model: medium, changes: shape(4, 2, 8, 48) },
  {
    name: 'medium, recomputed activations',
    model: medium,
    changes: [...shape(4, 2, 8, 48), 'train.checkpointActivations=true'],
  },
  {
    name: 'medium, frozen vision tower, SGD',
    model: medium,
    changes: [...shape(4, 1, 8, 48), 'train.freezeVision=true', 'optimizer.name=sgd'],
  },
  {
    name: 'medium, bfloat16, KL',
    model: medium,
    changes: [...shape(4, 2, 8, 48), 'precision=bfloat16', 'objective.kl.coefficient=0.01'],
  },
  { name: 'large, 269 million', model: large, changes: shape(2, 1, 4, 32) },
  { name: 'large, LoRA', model: large, changes: [...shape(4, 2, 4, 32), 'train.lora.rank=16'] },
  {
    name: 'large in bfloat16, LoRA',
    model: large,
    dtype: 'BF16',
    changes: [...shape(4, 2, 4, 32), 'train.lora.rank=16', 'precision=bfloat16'],
  },
  {
    name: 'large in bfloat16, LoRA, four bits',
    model: large,
    dtype: 'BF16',
    changes: [...shape(4, 2, 4, 32), 'train.lora.rank=16', 'train.lora.quantize=nf4', 'precision=bfloat16'],
  },
  {
    name: 'medium, many rollouts',
    model: medium,
    changes: [...shape(32, 1, 32, 8), 'paradigm=rlvr', 'optimizer.name=sgd', 'train.checkpointActivations=true'],
  },
];

async function measure({ name, model: config, changes, dtype = 'F32' }: Case, folder: string): Promise<string> {
  const base = join(folder, 'base');
  writeCheckpoint(base, config, dtype);
  mkdirSync(folder, { recursive: true });
  const image = join(root, 'oracle/fixtures/images/wide-340x270.png');
  const sample = {
    image,
    problem: 'the red car',
    solution: [{ bbox_2d: [10, 20, 200, 180] }],
    prompt: 'find {Question}',
  };
  const lines = Array.from({ length: 16 }, (_, i) => JSON.stringify({ id: `sample-${i}`, ...sample }));
  writeFileSync(join(folder, 'train.jsonl'), `${lines.join('\n')}\n`);
  writeFileSync(
    join(folder, 'config.yaml'),
    'model: base\noutput: run\ndata: { train: train.jsonl, allowOutside: true }\nsteps: 2\ncheckpoint: { every: 2 }\nthreads: 1\n',
  );
  const program = join(root, 'packages/visurf/src/main.ts');
  const run = (command: string, onSample?: (seconds: number) => void): ReturnType<typeof watch> => {
    const threads = { OMP_NUM_THREADS: '1', MKL_NUM_THREADS: '1' };
    const args = [program, command, join(folder, 'config.yaml'), ...changes, '--json'];
    return watch(process.execPath, args, threads, onSample);
  };
  const planned = JSON.parse((await run('plan')).output) as Plan;
  const seconds = new Map<number, number>();
  const { resident } = await run('train', (used) => {
    const logged = stepsLogged(join(folder, 'run', 'events.jsonl'));
    if (!seconds.has(logged)) seconds.set(logged, used);
  });
  // The second step: the first one warms up.
  const step = seconds.get(2)! - seconds.get(1)!;
  const megabytes = (bytes: number): string => String(Math.round(bytes / 1e6));
  const off = `${((planned.memory.peak / resident - 1) * 100).toFixed(1)}%`;
  const cells = [
    name,
    planned.memory.phase,
    planned.dominant,
    megabytes(planned.memory.peak),
    megabytes(resident),
    off,
  ];
  return `| ${[...cells, planned.time.step.toFixed(1), step.toFixed(1)].join(' | ')} |`;
}

function stepsLogged(events: string): number {
  if (!existsSync(events)) return 0;
  return readFileSync(events, 'utf8').match(/"type":"step"/g)?.length ?? 0;
}

const rows: string[] = [];
for (const each of cases.filter(({ name }) => name.includes(options.only))) {
  const folder = mkdtempSync(join(tmpdir(), 'visurf-plan-'));
  try {
    rows.push(await measure(each, folder));
    console.error(rows.at(-1));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
if (options.only === '') {
  const page = join(root, 'docs/planning.md');
  const { cpu, memoryGb, load } = describeMachine();
  const head =
    '| configuration | phase | most goes to | planned, MB | measured, MB | off | planned step, s | processor time of a step, s |';
  const about = `One thread of ${cpu}, ${memoryGb} GB; load beside it ${load} per core.`;
  const text = readFileSync(page, 'utf8');
  const [begin, end] = ['<!-- measured -->\n', '<!-- end -->'];
  const front = text.split(begin)[0] ?? '';
  const back = text.split(end)[1] ?? '';
  writeFileSync(
    page,
    `${front}${begin}\n${about}\n\n${head}\n|${' --- |'.repeat(8)}\n${rows.join('\n')}\n\n${end}${back}`,
  );
}
