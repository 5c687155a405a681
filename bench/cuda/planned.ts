/** What `visurf plan` says of the dry run's steps with real shapes, and of such steps on usual cards. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { parseConfig } from '../../packages/core/src/config/load.ts';
import { plan, type Plan, type PlanOptions } from '../../packages/core/src/plan.ts';
import { realStep, sample, type Step } from './cases.ts';

export async function planStep({ model, changes }: Step, options: PlanOptions): Promise<Plan> {
  const folder = mkdtempSync(join(tmpdir(), 'visurf-plan-'));
  try {
    const train = join(folder, 'train.jsonl');
    const lines = Array.from({ length: 16 }, (_, i) => JSON.stringify({ id: `sample-${i}`, ...sample }));
    writeFileSync(train, lines.join('\n'));
    const data = { prompt: 'find {Question}', ...(changes['data'] as object), train, allowOutside: true };
    return await plan(parseConfig({ model, output: 'unused', steps: 1, ...changes, data }), options);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const lora = { rank: 16 };
const packed = { ...lora, quantize: 'nf4' };
const recomputed = { checkpointActivations: true };
const offloaded = { ...recomputed, offloadActivations: true };
const small = { optimizer: { states: '8bit' } };
/** What is trained how, and other changes. */
const modes: Readonly<Record<string, readonly [object, object?]>> = {
  LoRA: [{ lora }],
  'LoRA, recomputed': [{ lora, ...recomputed }],
  'LoRA, four bits': [{ lora: packed }],
  'LoRA, four bits, recomputed': [{ lora: packed, ...recomputed }],
  full: [{}],
  'full, recomputed': [recomputed],
  'full, recomputed, 8-bit moments': [recomputed, small],
  'full, tower frozen, recomputed and offloaded, 8-bit moments': [{ freezeVision: true, ...offloaded }, small],
};
const machines = ['rtx4090', 'l40s', 'h100'];

/** A table: gigabytes and seconds of a step, where it fits. */
export async function fitsTable(): Promise<string> {
  const rows: string[] = [];
  for (const size of ['3B', '7B'] as const) {
    for (const [mode, [train, others]] of Object.entries(modes)) {
      const changed = realStep(size, train, others);
      const cells = [`${size} ${mode}`];
      for (const machine of machines) {
        const { fits, memory, time } = await planStep(changed, { machine });
        const peak = `${(memory.peak / 1e9).toFixed(1)} GB`;
        cells.push(fits ? `${peak}, ${time.step.toFixed(1)} s` : `no (${peak})`);
      }
      rows.push(`| ${cells.join(' | ')} |`);
    }
  }
  return `| what | ${machines.join(' | ')} |\n|${' --- |'.repeat(machines.length + 1)}\n${rows.join('\n')}`;
}
