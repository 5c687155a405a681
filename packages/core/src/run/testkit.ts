/** A training whose only state is a number, so that a wrong resume shows. */
import { existsSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { readEvents } from './events.ts';
import { Run } from './run.ts';

export const STEPS = 10;

export function configOf(values: object = {}): Config {
  return parseConfig({
    model: 'm',
    output: 'o',
    steps: STEPS,
    data: { train: 't' },
    checkpoint: { keep: 2 },
    ...values,
  });
}

const source = { file: 'train.jsonl', line: 1 };
const ASKED = {
  sample: { id: '', images: [], problem: 'x', solution: '[]', task: 'grounding', extra: {}, source },
  ...{ rendered: 'x', frames: [], boxes: [], points: [] },
};

/** Where a training is. */
export interface Course {
  readonly run: Run;
  readonly step: number;
  readonly total: number;
  readonly warnings: readonly string[];
}

export interface Habits {
  /** Called in the midst of writing a checkpoint, and between steps. */
  readonly pause?: (step: number, where: 'checkpoint' | 'step') => void | Promise<void>;
  /** Every second checkpoint is an evaluated one. */
  readonly evaluates?: boolean;
}

/** Goes on to a step. */
export async function train({ run, step, total }: Course, to: number, habits: Habits = {}): Promise<number> {
  const { pause = () => undefined, evaluates = true } = habits;
  const met = run.sampleLog('none');
  while (step < to) {
    step++;
    total = (total * 31 + step) % 1_000_003;
    run.log({ type: 'step', step, metrics: { total }, seconds: {} });
    run.writeGroups(step, [{ step, id: String(total), problem: '', solution: '', rollouts: [] }]);
    // Every sample is met twice.
    await met.add([{ ...ASKED, sample: { ...ASKED.sample, id: String(step >> 1) } }]);
    if (evaluates) run.write('evaluations', step, [{ id: String(total) }]);
    await pause(step, 'step');
    if (step % 2 !== 0) continue;
    const files = {
      'model.safetensors': async (file: string) => {
        writeFileSync(file, String(total));
        await pause(step, 'checkpoint');
      },
      'optimizer/state': async (file: string) => {
        writeFileSync(file, 'x'.repeat(step));
        await pause(step, 'checkpoint');
      },
    };
    await run.saveCheckpoint(
      step,
      { files, state: { total } },
      evaluates ? { metric: 'total', value: total } : undefined,
    );
  }
  return total;
}

export const start = (directory: string, config = configOf()): Course => ({
  ...{ run: Run.start(directory, config, {}), step: 0, total: 0, warnings: [] },
});

export async function resume(directory: string, config = configOf()): Promise<Course> {
  const { run, checkpoint, warnings } = await Run.resume(directory, config, {});
  const { total } = (checkpoint?.state ?? { total: 0 }) as { total: number };
  return { run, step: checkpoint?.step ?? 0, total, warnings };
}

/** Goes on with the run if there is one. */
export const startOrResume = async (directory: string): Promise<Course> =>
  existsSync(path.join(directory, 'config.yaml')) ? resume(directory) : start(directory);

const filesIn = (directory: string, folder: string): string[] =>
  existsSync(path.join(directory, folder))
    ? readdirSync(path.join(directory, folder)).map((name) => path.join(folder, name))
    : [];

/** Everything a reader of the run sees, without times. */
export function contents(directory: string): unknown {
  const steps = readEvents(path.join(directory, 'events.jsonl')).filter(({ type }) => type === 'step');
  const files = [...filesIn(directory, 'groups'), ...filesIn(directory, 'evaluations'), 'samples.jsonl'];
  const best = path.join(directory, 'best');
  const last = path.join(directory, 'checkpoints', String(STEPS).padStart(6, '0'));
  const manifest = JSON.parse(readFileSync(path.join(last, 'manifest.json'), 'utf8')) as { files: unknown };
  return {
    steps: steps.map((event) => ({ ...event, time: 0 })),
    texts: files.map((name) => [name, readFileSync(path.join(directory, name), 'utf8')]),
    best: existsSync(best) ? path.basename(realpathSync(best)) : undefined,
    files: manifest.files,
    checkpoints: readdirSync(path.join(directory, 'checkpoints'))
      .filter((name) => /^\d/.test(name))
      .sort(),
    leftovers: readdirSync(directory, { recursive: true }).filter((name) => String(name).endsWith('.tmp')),
  };
}
