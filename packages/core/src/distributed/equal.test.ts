/** What trains on several processes trains as on one: the same losses to 1e-12 in float64, the same texts. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { readEvents, type EvalEvent, type StepEvent } from '../run/events.ts';
import type { GroupRecord } from '../run/groups.ts';
import { PARADIGMS, type Paradigm } from '../schedule/paradigm.ts';
import { usesKey } from '../config/keys.ts';
import { fixtures, tinyModel } from '../testing/oracle.ts';
import { Ranks, type Job } from '../testing/ranks.ts';

let folder: string;
let ranks: Ranks;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-processes-'));
  const lines = Array.from({ length: 7 }, (_, i) => ({
    id: `s${i}`,
    image: path.join(fixtures, 'images', 'small-40x40.png'),
    problem: `the ${['red', 'blue', 'green'][i % 3]} circle`,
    solution: i === 0 ? [] : [{ bbox_2d: [2 + i, 3, 20, 30] }],
  }));
  writeFileSync(path.join(folder, 'train.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  writeFileSync(path.join(folder, 'held.jsonl'), lines.slice(0, 3).map((line) => `${JSON.stringify(line)}\n`).join('')); // prettier-ignore
  ranks = new Ranks(4);
});
afterAll(() => {
  ranks[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

type Values = Record<string, Record<string, unknown>>;

function valuesOf(paradigm: Paradigm, output: string, changes: Partial<Record<string, unknown>> = {}): object {
  const rollout = usesKey(paradigm, 'rollout.group') ? { rollout: { maxNewTokens: 6, group: 2 } } : {};
  const values: Record<string, unknown> = {
    ...{ model: tinyModel, output: path.join(folder, output), paradigm, precision: 'float64', threads: 1 },
    ...{ steps: 2, promptsPerStep: 3, optimizer: { learningRate: 1e-3 }, checkpoint: { every: 10 } },
    data: { train: path.join(folder, 'train.jsonl'), allowOutside: true, prompt: 'find {Question}' },
    ...rollout,
    ...(usesKey(paradigm, 'sftSteps') && { sftSteps: 1 }),
  };
  for (const [key, value] of Object.entries(changes)) {
    const isObject = typeof value === 'object' && value !== null;
    values[key] = isObject ? { ...(values[key] as object | undefined), ...value } : value;
  }
  return values;
}

const linesOf = <T>(output: string, file: string): T[] =>
  readFileSync(path.join(folder, output, file), 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as T);

interface Course {
  readonly metrics: readonly Readonly<Record<string, number>>[];
  readonly groups: readonly GroupRecord[];
  readonly answers: readonly unknown[];
  readonly processes: readonly (number | undefined)[];
}

function courseOf(output: string): Course {
  const events = readEvents(path.join(folder, output, 'events.jsonl'));
  const told = events.filter((event): event is StepEvent | EvalEvent => event.type === 'step' || event.type === 'eval');
  return {
    metrics: told.map(({ metrics }) => metrics),
    groups: told.flatMap(({ type, step }) =>
      type === 'step' ? linesOf<GroupRecord>(output, `groups/${String(step).padStart(6, '0')}.jsonl`) : [],
    ),
    answers: told.flatMap(({ type, step }) =>
      type === 'eval' ? linesOf(output, `evaluations/${String(step).padStart(6, '0')}.jsonl`) : [],
    ),
    processes: events.flatMap((event) => (event.type === 'start' || event.type === 'resume' ? [event.processes] : [])),
  };
}

/** Trains, and requires that it went well in every process. */
async function course(job: Job, output: string): Promise<Course> {
  const done = await ranks.run(job);
  expect(done.flatMap(({ error }) => error ?? [])).toEqual([]);
  expect(done.map(({ result }) => result?.metrics)).toEqual(done.map(() => done[0]!.result?.metrics));
  return courseOf(output);
}

/** The same numbers to 1e-12, and the same in everything else. */
function expectSame(value: unknown, expected: unknown, where = ''): void {
  if (typeof value === 'number' && typeof expected === 'number') {
    if (Math.abs(value - expected) > 1e-12 * Math.max(1, Math.abs(expected))) expect(value, where).toBe(expected);
  } else if (typeof value === 'object' && typeof expected === 'object' && value && expected) {
    expect(Object.keys(value).sort(), where).toEqual(Object.keys(expected).sort());
    for (const [key, each] of Object.entries(value))
      expectSame(each, (expected as Record<string, unknown>)[key], `${where}.${key}`);
  } else expect(value, where).toEqual(expected);
}

const forms = { full: {}, lora: { train: { lora: { rank: 2 } } } } as const;

/** The course of one process, and that of as many as asked. */
async function expectEqual(
  name: string,
  paradigm: Paradigm,
  sizes: readonly number[],
  changes: Partial<Record<string, unknown>> = {},
): Promise<Course> {
  const alone = await course({ size: 1, values: valuesOf(paradigm, `${name}-1`, changes) }, `${name}-1`);
  for (const size of sizes) {
    const output = `${name}-${size}`;
    const together = await course({ size, values: valuesOf(paradigm, output, changes) }, output);
    expectSame({ ...together, processes: [] }, { ...alone, processes: [] }, output);
    expect(together.processes).toEqual([size]);
  }
  return alone;
}

describe.each(PARADIGMS)('%s', (paradigm) => {
  test.each(['full', 'lora'] as const)('%s', async (form) => {
    // Three prompts: on two processes uneven, on four more processes than prompts.
    const alone = await expectEqual(`${paradigm}-${form}`, paradigm, [2, 4], forms[form]);
    expect(alone.groups).toHaveLength(6);
    expect(alone.metrics.every(({ gradientNorm }) => gradientNorm! > 0)).toBe(true);
  });
});
