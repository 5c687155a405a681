/** What is found in a stream, from headers and from memory, is what a plain reading of everything finds. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import { parseConfig } from '../config/load.ts';
import { describeFinding, type Finding } from '../data/findings.ts';
import { reasonOf } from '../data/images.ts';
import { readLines } from '../data/lines.ts';
import { parseSample } from '../data/parse.ts';
import { UserError } from '../errors.ts';
import { decodeImage } from '../prompt/decode.ts';
import { PromptEncoder } from '../prompt/encoder.ts';
import { taskNames } from '../tasks/registry.ts';
import { tinyModel } from '../testing/oracle.ts';
import type { Frame, Sample } from '../types.ts';
import { Experiment } from './experiment.ts';
import { prepareQuestions, weighAll } from './prepare.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'visurf-prepare-'));
const file = path.join(folder, 'train.jsonl');
const cache = path.join(folder, '.visurf-cache');
const IMAGES = ['plain.png', 'turned.jpg', 'cut.png', 'none.png', 'text.png', 'small/flat.png'];

beforeAll(async () => {
  const noise = { type: 'gaussian', mean: 128, sigma: 30 } as const;
  const picture = (width: number, height: number) =>
    sharp({ create: { width, height, channels: 3, noise, background: 'red' } });
  await picture(120, 60).png().toFile(path.join(folder, 'plain.png'));
  await picture(120, 60).jpeg().withMetadata({ orientation: 6 }).toFile(path.join(folder, 'turned.jpg'));
  const png = await picture(60, 60).png().toBuffer();
  writeFileSync(path.join(folder, 'cut.png'), png.subarray(0, png.length - 30));
  writeFileSync(path.join(folder, 'text.png'), 'hello');
  mkdirSync(path.join(folder, 'small'));
  await picture(30, 20).png().toFile(path.join(folder, 'small/flat.png'));
});

const side = fc.oneof(fc.integer({ min: 0, max: 130 }), fc.double({ min: 0, max: 70, noNaN: true }));
const box = fc
  .tuple(side, side, side, side)
  .map(([a, b, c, d]) => ({ bbox_2d: [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)] }));
const solution = fc.oneof(
  { weight: 6, arbitrary: fc.array(box, { maxLength: 3 }) },
  fc.constantFrom<unknown>('red', null, { box: 1 }, [{ bbox_2d: [9, 9, 2, 2] }], [{ bbox_2d: [1, 2, 3] }]),
);
const sample = fc.record(
  {
    id: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.string({ maxLength: 3 })),
    image: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...IMAGES.slice(0, 2), 'small/flat.png') }, fc.constantFrom(...IMAGES)), // prettier-ignore
    problem: fc.oneof(fc.constantFrom('the car', '<image>the dog', 'see <|im_end|>', 'a '.repeat(400)), fc.string()),
    solution,
    task: fc.constantFrom('grounding', 'box', 'count'),
    prompt: fc.constantFrom('say {Question}', 'look'),
    thinking: fc.constantFrom('left of it', '<think>'),
  },
  { requiredKeys: ['image', 'problem', 'solution'] },
);
const line = fc.oneof(
  { weight: 12, arbitrary: sample.map((value) => JSON.stringify(value)) },
  fc.constantFrom('', '  ', '\u00a0', '{"image": ', '[1]', '\ufeff{}', JSON.stringify({ problem: 'x' })),
);
const lines = fc.array(line, { minLength: 1, maxLength: 12 });

interface Plain {
  readonly samples: Sample[];
  readonly findings: string[];
}

/** Everything in memory, every image decoded for every sample that shows it. */
async function readPlainly(): Promise<Plain & { readonly experiment: Experiment }> {
  const samples: Sample[] = [];
  const [rows, images, labels]: Finding[][] = [[], [], []];
  const error = (kind: Finding['kind'], at: Sample | number, message: string): Finding => {
    const where = typeof at === 'number' ? { line: at } : { line: at.source.line, id: at.id };
    return { kind, severity: 'error', file, ...where, message };
  };
  const ids = new Map<string, number>();
  for await (const { number, text } of readLines(file, 4e6)) {
    if (text?.trim() === '') continue;
    const read = parseSample(text ?? '', { file, line: number }, 'grounding');
    if (typeof read === 'string') {
      rows!.push(error('row', number, read));
      continue;
    }
    if (ids.has(read.id)) rows!.push(error('id', read, `same id as line ${ids.get(read.id)!}`));
    else ids.set(read.id, number);
    samples.push(read);
  }
  const experiment = Experiment.open().decide(samples);
  for (const each of samples) {
    const frames: Frame[] = [];
    for (const image of each.images) {
      try {
        const { full } = await decodeImage(image);
        frames.push({ ...full, modelWidth: full.width, modelHeight: full.height });
      } catch (thrown) {
        images!.push(error('image', each, reasonOf(thrown, image)));
      }
    }
    if (each.task === 'count')
      labels!.push(error('task', each, `there is no task count: choose one of ${taskNames().join(', ')}`));
    else {
      try {
        experiment.parseTruth(each, frames.length === each.images.length ? frames : undefined);
      } catch (thrown) {
        labels!.push(error('label', each, reasonOf(thrown)));
      }
    }
  }
  return { samples, experiment, findings: shown([rows, images, labels].flatMap((each) => each!)) };
}

/** Where each is, and how its message begins: kinds of labels and hints are another test's. */
const shown = (findings: readonly Finding[]): string[] =>
  findings
    .filter(({ kind, severity, lines: many }) => severity === 'error' && kind !== 'empty' && !many)
    .map((finding) => describeFinding(finding).slice(0, file.length + 40));

test('what is wrong with a file is found by streaming, again from memory, and without it', async () => {
  await fc.assert(
    fc.asyncProperty(lines, async (texts) => {
      writeFileSync(file, texts.join('\n'));
      const plain = await readPlainly();
      for (const isKept of [false, true, true]) {
        if (!isKept) rmSync(cache, { recursive: true, force: true });
        const { samples, findings } = await Experiment.open().read(file);
        expect([...samples]).toEqual(plain.samples);
        expect(shown(findings)).toEqual(plain.findings);
      }
    }),
    { numRuns: 25 },
  );
}, 120_000);

const config = parseConfig({ model: tinyModel, output: 'o', steps: 1, data: { train: file, maxPromptTokens: 400 } });
const encoder = PromptEncoder.load(tinyModel, { maxPromptTokens: 400 });
const outcome = async <T>(work: () => Promise<T>): Promise<T | string> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
};

test('questions are weighed as asking them would have found them', async () => {
  const usable = sample.map((value) => ({ ...value, image: value.image === 'turned.jpg' ? value.image : 'plain.png' }));
  await fc.assert(
    fc.asyncProperty(fc.array(usable, { minLength: 1, maxLength: 8 }), async (values) => {
      writeFileSync(file, values.map((value) => JSON.stringify(value)).join('\n'));
      const loaded = await Experiment.open({ maxPromptTokens: 400 }).load(file, { onSkip: () => undefined }).catch(() => undefined); // prettier-ignore
      if (!loaded) return;
      const { samples, experiment, frames } = loaded;
      for (const each of samples) {
        const asked = await outcome(async () => {
          const { frames: own, truth } = await experiment.ask({ encoder }, each);
          return { frames: own, truth };
        });
        const weighed = await outcome(async () => {
          const { frames: own, truth } = experiment.weigh({ encoder }, each, frames);
          return await Promise.resolve({ frames: own, truth });
        });
        expect(weighed).toEqual(asked);
      }
      const prepare = (key: readonly unknown[] | undefined) =>
        outcome(() =>
          prepareQuestions({
            ...{ experiment, policy: { encoder }, frames, config, samples, validation: [], joins: true, skips: true },
            key: key && [...key, values],
          }),
        );
      const [fresh, first, again] = [await prepare(undefined), await prepare(['key']), await prepare(['key'])];
      const facts = (found: typeof fresh): unknown =>
        typeof found === 'string' ? found : [[...found.taught], [...found.held], found.warnings];
      expect(facts(first)).toEqual(facts(fresh));
      expect(facts(again)).toEqual(facts(fresh));
    }),
    { numRuns: 20 },
  );
}, 120_000);

test('data in a folder that cannot be written is checked all the same, and remembered elsewhere', async () => {
  writeFileSync(file, JSON.stringify({ image: 'plain.png', problem: 'x', solution: [] }));
  rmSync(cache, { recursive: true, force: true });
  writeFileSync(cache, 'in the way');
  const home = mkdtempSync(path.join(tmpdir(), 'visurf-cache-'));
  process.env.XDG_CACHE_HOME = home;
  try {
    chmodSync(folder, 0o500);
    for (let i = 0; i < 2; i++) expect((await Experiment.open().load(file)).samples.length).toBe(1);
  } finally {
    delete process.env.XDG_CACHE_HOME;
    chmodSync(folder, 0o700);
    rmSync(cache);
  }
  expect(readdirSync(path.join(home, 'visurf/data'))).toHaveLength(1);
});

test('hundreds of thousands of faults are listed as well as five', async () => {
  writeFileSync(file, `${JSON.stringify({ image: 'plain.png', problem: 'x', solution: 'red' })}\n`.repeat(300_000));
  const error: unknown = await Experiment.open()
    .load(file)
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  expect((error as UserError).message).toContain('300000 bad samples');
  expect((error as UserError).message).toContain('and 299980 more');
}, 120_000);

test('a check is stopped within a second, wherever it is', async () => {
  const row = (i: number): string => JSON.stringify({ id: i, image: 'plain.png', problem: 'x', solution: [] });
  writeFileSync(file, Array.from({ length: 200_000 }, (_, i) => row(i)).join('\n'));
  for (const [delay, phase] of [
    [0, 'lines'],
    [0, 'labels'],
  ] as const) {
    rmSync(cache, { recursive: true, force: true });
    const controller = new AbortController();
    let before: NodeJS.CpuUsage | undefined;
    const work = Experiment.open().load(file, {
      signal: controller.signal,
      onProgress: (what) => {
        if (what !== phase || controller.signal.aborted) return;
        setTimeout(() => {
          before = process.cpuUsage();
          controller.abort();
        }, delay);
      },
    });
    expect(await work.catch((error: unknown) => error)).toBe(controller.signal.reason);
    // Of the processor: what else the machine does is no part of it.
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1e6).toBeLessThan(1);
  }
}, 120_000);

test('what cannot be asked comes in one list, and bugs at once', async () => {
  const samples = Array.from({ length: 150 }, (_, i): Sample => ({
    ...{ id: `s${i}`, images: [], problem: 'x', solution: '[]', task: 'grounding', extra: {} },
    source: { file, line: i + 1 },
  }));
  const weighed = async (weigh: (id: string) => object): Promise<number[]> => {
    const seen: number[] = [];
    const experiment = { weigh: (_: unknown, { id }: Sample) => weigh(id) } as unknown as Experiment;
    await weighAll(samples, { experiment, policy: { encoder }, frames: new Map() }, (_, places) => {
      for (const place of places) seen.push(place);
    });
    return seen;
  };
  const fail = (error: Error): never => {
    throw error;
  };
  expect(await weighed((id) => ({ id }))).toEqual([...samples.keys()]);
  const refuse = (id: string) => (['s3', 's99'].includes(id) ? fail(new UserError(`${id} is unusable`)) : {});
  await expect(weighed(refuse)).rejects.toThrow(/2 of 150 samples[^]*s3 is unusable[^]*s99 is unusable/);
  await expect(weighed(() => fail(new UserError('no')))).rejects.toThrow('and 130 more');
  await expect(weighed(() => fail(new Error('a bug')))).rejects.toThrow('a bug');
});
