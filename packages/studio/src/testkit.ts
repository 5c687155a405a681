/** Run directories as training writes them, made up. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { GroupRecord, ResponseRecord, RunEvent, SampleRecord } from '@visurf/core/records';
import sharp from 'sharp';

export const WEIGHTS = { thinking: 0.5, format: 1, accuracy: 1 };

export const eventLines = (events: readonly RunEvent[]): string =>
  events.map((event) => `${JSON.stringify(event)}\n`).join('');

export const stepEvent = (step: number, metrics: Record<string, number> = {}, time = 1_000 * step): RunEvent => ({
  ...{ type: 'step', step, time },
  metrics: { reward: step / 10, loss: 1 / (step + 1), ...metrics },
  seconds: { rollout: 0.5, update: 0.4 },
  memory: 1e8,
});

export const startEvent = (time = 0): RunEvent => ({
  ...{ type: 'start', step: 0, time, format: 1, configHash: 'x', environment: {} },
  ...{ command: 'visurf train cars.yaml', host: 'machine', weights: WEIGHTS },
});

export function response(
  accuracy: number,
  { box, text }: { box?: readonly number[]; text?: string } = {},
): ResponseRecord {
  const boxes = box ? [box as [number, number, number, number]] : [];
  const terms = { thinking: 1, format: 2, accuracy };
  return {
    text: text ?? `<think> look</think><answer>${JSON.stringify(boxes.map((each) => ({ bbox_2d: each })))}</answer>`,
    ...{ stop: 'eos', length: 17, logProb: -3, terms, reward: 2.5 + accuracy, advantage: 0, boxes, points: [] },
  };
}

export function group(
  step: number,
  id: string,
  accuracies: readonly number[],
  options: { active?: boolean; box?: readonly number[] } = {},
): GroupRecord {
  const { active, box = [10, 10, 50, 50] } = options;
  const label = {
    ...response(3, { box, text: '<answer>[{"bbox_2d":[10,10,50,50]}]</answer>' }),
    ...{ terms: { thinking: 0, format: 2, accuracy: 3 }, reward: 5, rewardBefore: 5 },
    ...{
      place: 'member',
      form: 'compact',
      active: active ?? false,
      weight: 1,
      reachedBy: active ? [] : [0],
      length: 14,
    },
  } as GroupRecord['label'];
  return {
    ...{ step, id, problem: `the ${id}`, solution: '[{"bbox_2d":[10,10,50,50]}]' },
    ...(active !== undefined && { label }),
    rollouts: accuracies.map((accuracy) => ({
      ...response(accuracy, { box: accuracy > 0 ? box : [60, 60, 90, 90] }),
      masked: false,
    })),
  };
}

export const sample = (id: string, image = 'images/0123456789abcdef.webp'): SampleRecord => ({
  ...{ id, problem: `the ${id}`, task: 'grounding', prompt: `<|im_start|>user find the ${id}`, solution: '[]' },
  ...{ images: [{ path: image, width: 112, height: 112 }], boxes: [[10, 10, 50, 50]], points: [] },
});

export interface MadeRun {
  readonly events?: readonly RunEvent[];
  readonly groups?: Readonly<Record<number, readonly GroupRecord[]>>;
  readonly samples?: readonly SampleRecord[];
  readonly answers?: Readonly<Record<number, readonly object[]>>;
  readonly config?: string;
}

export const stepFile = (directory: string, folder: string, step: number): string =>
  path.join(directory, folder, `${String(step).padStart(6, '0')}.jsonl`);

const lines = (records: readonly object[]): string => records.map((record) => `${JSON.stringify(record)}\n`).join('');

export async function writeRun(directory: string, made: MadeRun = {}): Promise<void> {
  const { events = [startEvent(), stepEvent(1)], groups = {}, samples = [], answers = {} } = made;
  for (const folder of ['groups', 'images', 'evaluations'])
    mkdirSync(path.join(directory, folder), { recursive: true });
  writeFileSync(
    path.join(directory, 'config.yaml'),
    made.config ?? 'paradigm: visurf\nsteps: 10\nmodel: base\nseed: 0\n',
  );
  writeFileSync(path.join(directory, 'samples.jsonl'), lines(samples));
  for (const [step, records] of Object.entries(groups))
    writeFileSync(stepFile(directory, 'groups', Number(step)), lines(records));
  for (const [step, records] of Object.entries(answers))
    writeFileSync(stepFile(directory, 'evaluations', Number(step)), lines(records));
  const picture = await sharp({ create: { width: 112, height: 112, channels: 3, background: '#336699' } })
    .webp()
    .toBuffer();
  writeFileSync(path.join(directory, 'images/0123456789abcdef.webp'), picture);
  writeFileSync(path.join(directory, 'events.jsonl'), eventLines(events));
}
