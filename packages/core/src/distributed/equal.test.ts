/** What trains on several processes trains as on one: the same losses to 1e-12 in float64, the same texts. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { freePort } from '@visurf/torch/ports';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { readEvents, type EvalEvent, type StepEvent } from '../run/events.ts';
import type { GroupRecord } from '../run/groups.ts';
import { PARADIGMS, type Paradigm } from '../schedule/paradigm.ts';
import { usesKey } from '../config/keys.ts';
import { ModelServer } from '../testing/model-server.ts';
import { fixtures, tinyModel } from '../testing/oracle.ts';
import { Ranks, type Job } from '../testing/ranks.ts';
import { held, inTrials } from '../testing/reliability.ts';
import { codePrint } from './code.ts';

// They have to start, on machines that are busy.
vi.setConfig({ testTimeout: 300_000 });

let folder: string;
let ranks: Ranks;
let compared = 0;
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
  held({
    promise: 'Trainings of several processes have the losses and texts of one, to 1e-12 in float64',
    test: 'packages/core/src/distributed/equal.test.ts',
    ...{ count: compared, of: 'trainings' },
  });
  ranks[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

function valuesOf(paradigm: Paradigm, output: string, changes: Partial<Record<string, unknown>> = {}): object {
  const rollout = usesKey(paradigm, 'rollout.group') ? { rollout: { maxNewTokens: 6, group: 2 } } : {};
  const values: Record<string, unknown> = {
    ...{ model: tinyModel, output: path.join(folder, output), paradigm, precision: 'float64', threads: 1 },
    ...{ steps: 2, promptsPerStep: 3, optimizer: { learningRate: 1e-3 }, checkpoint: { every: 10 } },
    record: { images: 'none' },
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

const forms = { full: {}, lora: { train: { lora: { rank: 2, dropout: 0.3 } } } } as const;

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
    compared++;
  }
  return alone;
}

describe.each(PARADIGMS)('%s', (paradigm) => {
  test.each(['full', 'lora'] as const)('%s', async (form) => {
    // Three prompts: on two processes uneven, on four more processes than prompts.
    // The forms that the base speaks take it long to say, and are asked for by SFT alone: once is enough.
    const isQuick = usesKey(paradigm, 'rollout.group') || (paradigm === 'sft' && form === 'full');
    const changes = { ...forms[form], ...(!isQuick && { label: { align: 'off' } }) };
    const sizes = inTrials([PARADIGMS.indexOf(paradigm) % 2 === Number(form === 'lora') ? 2 : 4], [2, 4]);
    const alone = await expectEqual(`${paradigm}-${form}`, paradigm, sizes, changes);
    expect(alone.groups).toHaveLength(6);
    expect(alone.metrics.every(({ gradientNorm }) => gradientNorm! > 0)).toBe(true);
  });
});

describe('what several processes have to agree on', () => {
  const more = { promptsPerStep: 5 };

  test('which groups are left out, and which batches are drawn for them', async () => {
    const changes = { ...more, rollout: { dynamicSampling: 3 } };
    const alone = await expectEqual('dynamic', 'rlvr', [2, 4], changes);
    // Some are left out, or the test says nothing.
    expect(alone.metrics.map(({ sampledPrompts }) => sampledPrompts! > 1)).toContain(true);
  });

  test.each(['full', 'lora'] as const)('one prompt at a time, of which some have more: %s', async (form) => {
    const tower = form === 'lora' ? { lora: { ...forms.lora.train.lora, vision: true } } : {};
    const changes = { ...more, train: { ...tower, microBatch: { prompts: 1 } } };
    await expectEqual(`one-${form}`, 'visurf', [2, 3], changes);
  });

  test.each(['full', 'lora'] as const)(
    'a reference, and the policy before the first of two updates: %s',
    async (form) => {
      const objective = { kl: { coefficient: 0.1 }, updatesPerBatch: 2 };
      const alone = await expectEqual(`kl-${form}`, 'visurf', [3], { ...more, ...forms[form], objective });
      expect(alone.metrics[1]!['kl']).toBeGreaterThan(0);
    },
  );

  test('rollouts one step ahead: which of them are too far off, and those that wait when a run stops', async () => {
    const changes = { ...more, steps: 4, rollout: { ahead: 1, correction: 'mask', cap: 1.01 } };
    const alone = await expectEqual('ahead', 'visurf', [2], changes);
    expect(alone.metrics.map(({ mismatchMasked }) => mismatchMasked! > 0)).toContain(true);
    const values = valuesOf('visurf', 'ahead-stopped', changes);
    const [stopped] = await ranks.run({ size: 3, values, stop: { rank: 1, step: 1 } });
    expect(stopped!.result!.steps).toBeLessThan(4);
    await course({ size: 2, values, resume: true }, 'ahead-stopped');
    expectSame({ ...courseOf('ahead-stopped'), processes: [] }, { ...alone, processes: [] });
  });

  test('which rollouts are watched where none takes part in an update', async () => {
    // Answers that are cut off leave the loss; labels move the weights.
    const changes = { ...more, objective: { truncated: 'mask' }, rollout: { ahead: 1 }, label: { align: 'off' } };
    const alone = await expectEqual('watched', 'chord', [2, 3], { ...changes, train: { microBatch: { prompts: 1 } } });
    expect(alone.metrics[1]!['mismatch']).toBeGreaterThan(1e-3);
  });

  test('rollouts by a server, which has an adapter from each', async () => {
    await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
    const rollout = { backend: 'vllm', servers: [server.url], timeout: 60 };
    const courses = [];
    for (const size of [1, 2]) {
      // Dropout is not in what a server says of its tokens.
      const values = valuesOf('visurf', `served-${size}`, { ...more, train: { lora: { rank: 4 } }, rollout });
      courses.push(await course({ size, values }, `served-${size}`));
    }
    const [alone, together] = courses;
    // The server computes in float32: what it says of a token differs by rounding.
    expect(together!.groups.map(({ rollouts }) => rollouts.map(({ text }) => text))).toEqual(
      alone!.groups.map(({ rollouts }) => rollouts.map(({ text }) => text)),
    );
    for (const [i, { loss, mismatch }] of together!.metrics.entries()) {
      expect(loss).toBeCloseTo(alone!.metrics[i]!['loss']!, 6);
      expect(mismatch).toBeLessThan(1e-5);
    }
    expect(server.asked.filter((each) => each.startsWith('/v1/load'))).toHaveLength(2 + 4);
  });

  test('a server that the run starts: the first starts it, all sample from it, and it ends with the run', async () => {
    const port = await freePort();
    const starts = path.join(folder, 'starts');
    const script = path.join(import.meta.dirname, '../testing/model-server.ts');
    const serverCommand = `echo >> '${starts}'; exec '${process.execPath}' '${script}' vllm '${tinyModel}' ${port}`;
    const url = `http://127.0.0.1:${port}`;
    const rollout = { backend: 'vllm', servers: [url], serverCommand, timeout: 120 };
    const { groups } = await course(
      { size: 2, values: valuesOf('visurf', 'starts-one', { ...more, ...forms.lora, rollout }) },
      'starts-one',
    );
    expect(groups.every(({ rollouts }) => rollouts.length === 2)).toBe(true);
    expect(readFileSync(starts, 'utf8')).toBe('\n');
    await expect(fetch(`${url}/health`)).rejects.toThrow();
  });

  test('evaluations, answered by share, and after which of them all stop', async () => {
    const changes = {
      steps: 6,
      data: { validation: path.join(folder, 'held.jsonl') },
      eval: { every: 1, patience: 2 },
    };
    const alone = await expectEqual('patience', 'visurf', [2, 4], changes);
    expect(alone.answers).toHaveLength(9);
    expect(alone.groups).toHaveLength(6);
  });

  test('the step that all stop after, when one of them is to stop', async () => {
    const values = valuesOf('visurf', 'stopped', { steps: 50 });
    const done = await ranks.run({ size: 2, values, stop: { rank: 1, step: 2 } });
    expect(done).toMatchObject([{ result: { interrupted: true } }, { result: { interrupted: true } }]);
    const steps = done.map(({ result }) => result!.steps);
    expect(steps[0]).toBe(steps[1]);
    expect(steps[0]).toBeLessThan(50);
    expect(readFileSync(path.join(folder, 'stopped/checkpoints', String(steps[0]).padStart(6, '0'), 'state.json'), 'utf8')).not.toBe(''); // prettier-ignore
  });

  test.each(['full', 'lora'] as const)('a run that goes on with any number of them: %s', async (form) => {
    const whole = await course({ size: 1, values: valuesOf('visurf', `whole-${form}`, { steps: 3, ...forms[form] }) }, `whole-${form}`); // prettier-ignore
    const output = `resumed-${form}`;
    const stages = [
      [2, 1],
      [3, 2],
      [1, 3],
    ] as const;
    for (const [size, steps] of stages) {
      const values = valuesOf('visurf', output, { steps, ...forms[form] });
      await course({ size, values, resume: size !== 2 }, output);
    }
    const resumed = courseOf(output);
    expectSame({ ...resumed, processes: [] }, { ...whole, processes: [] });
    expect(resumed.processes).toEqual([2, 3, 1]);
  });

  test('processes that were not started for the same run are refused by all of them, before there is one', async () => {
    const values = valuesOf('visurf', 'unlike', { steps: 1 });
    const lines = readFileSync(path.join(folder, 'train.jsonl'), 'utf8');
    writeFileSync(path.join(folder, 'moved.jsonl'), lines);
    writeFileSync(path.join(folder, 'changed.jsonl'), lines.replace('green', 'grey'));
    const train = (file: string): object => ({ data: { train: path.join(folder, file) } });
    const saysOf = async (changes: Partial<Record<string, unknown>>, output = 'unlike'): Promise<unknown[]> => {
      const done = await ranks.run({ size: 2, values, others: valuesOf('visurf', output, { steps: 1, ...changes }) });
      return done.map(({ error }) => error?.message.split('\n')[0]);
    };
    const unlike = (what: string): unknown[] => [what, what].map((each) => expect.stringContaining(each) as unknown);
    expect(await saysOf({ seed: 5 })).toEqual(unlike('rank 1 was not started as rank 0 was: seed is 5, and not 0'));
    expect(await saysOf({ eval: { limit: 3 } })).toEqual(unlike('eval.limit is 3, and not left out'));
    expect(await saysOf({}, 'elsewhere')).toEqual(unlike('elsewhere, and not'));
    expect(await saysOf(train('changed.jsonl'))).toEqual(unlike('rank 1 has not the same training data as rank 0'));
    for (const { error } of await ranks.run({ size: 2, values, othersCode: '0.0.1 (01234567)' })) {
      expect(error).toMatchObject({ name: 'UserError', message: expect.stringContaining(codePrint()) as unknown });
      expect(error).toMatchObject({ message: expect.stringContaining('0.0.1 (01234567)') as unknown });
    }
    expect(existsSync(path.join(folder, 'unlike'))).toBe(false);
    expect(
      await saysOf({ ...train('moved.jsonl'), threads: 2, reward: { retries: 1 }, rollout: { timeout: 9 } }),
    ).toEqual([undefined, undefined]);
  });

  test('what is wrong with the input of one is said by all', async () => {
    const values = valuesOf('visurf', 'twice', { steps: 1 });
    await ranks.run({ size: 2, values });
    const done = await ranks.run({ size: 2, values });
    expect(done[0]!.error).toMatchObject({ name: 'UserError', message: expect.stringContaining('twice') });
    expect(done[1]!.error).toMatchObject({ name: 'UserError', message: expect.stringContaining('rank 0 has ended: ') });
  });
});
