/** Published benchmarks through the command line: small sets in their formats (packages/core/scripts/bench-data.ts). */

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeBenchData } from '../../core/scripts/bench-data.ts';
import { hasLibrary } from '../../core/src/testing/library.ts';
import { expectRefusal, fixtures, temporaryFolder, tinyModel, visurf, visurfJson } from './cli.ts';

const home = mkdtempSync(join(tmpdir(), 'visurf-benchmarks-'));
beforeAll(() => makeBenchData(home));
afterAll(() => rmSync(home, { recursive: true }));

interface Result {
  readonly metrics: Record<string, number | null>;
  readonly n: number;
  readonly perSample: string;
  readonly notes: readonly string[];
}
type Line = Record<string, unknown> & { readonly id: string };

const linesOf = (file: string): Line[] =>
  readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

const perfect = (name: string): Line[] => linesOf(join(home, `${name}.perfect.jsonl`));

/** Marks of answers to a set. */
async function scored(name: string, answers: readonly unknown[], ...args: readonly string[]): Promise<Result> {
  const folder = temporaryFolder();
  const file = join(folder, 'answers.jsonl');
  writeFileSync(file, answers.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const where = ['--data', join(home, name), '--predictions', file, '--output', join(folder, 'marks.jsonl')];
  return await visurfJson<Result>('eval', '--benchmark', name, ...where, ...args);
}

const garbage = (name: string): Line[] => perfect(name).map(({ id }) => ({ id, text: 'zebra zebra' }));

/** Metrics that right answers make 100, and what garbage makes of metrics. */
const SETS: [string, string[], Record<string, number>][] = [
  [
    'grefcoco',
    ['gIoU', 'cIoU', 'nAcc', 'tAcc', 'pr70', 'pr80', 'pr90', 'presentIoU', 'boxAccuracy'],
    { gIoU: 0, nAcc: 0, tAcc: 100 },
  ],
  ['refcoco', ['gIoU', 'cIoU', 'pr90', 'boxAccuracy'], { gIoU: 0 }],
  ['refcoco+', ['gIoU', 'cIoU', 'pr90', 'boxAccuracy'], { gIoU: 0 }],
  ['refcocog', ['gIoU', 'cIoU', 'pr90', 'boxAccuracy'], { gIoU: 0 }],
  ['reasonseg', ['gIoU', 'cIoU', 'gIoU.long', 'gIoU.short'], { gIoU: 0 }],
  ['omniact', ['sequenceScore', 'actionScore', 'accuracy'], { sequenceScore: 0, actionScore: 0, accuracy: 0 }],
  ['screenspot', ['accuracy', 'accuracy.web.text', 'accuracy.web.icon', 'accuracy.mobile.text'], { accuracy: 0 }],
  ['screenspot-pro', ['accuracy', 'accuracy.CAD.text', 'accuracy.icon'], { accuracy: 0 }],
  ['realiad', ['rocAuc', 'rocAuc.audiojack', 'accuracy'], { rocAuc: 50, accuracy: 0 }],
  ['isic2018', ['boxAccuracy', 'jaccard', 'thresholdedJaccard'], { boxAccuracy: 0, jaccard: 0 }],
  [
    'mathvista',
    ['accuracy', 'accuracy.task.geometry problem solving', 'accuracy.skills.algebraic reasoning'],
    { accuracy: 0 },
  ],
  ['chartqa', ['accuracy', 'accuracy.human', 'accuracy.augmented'], { accuracy: 0 }],
  ['docvqa', ['anls'], { anls: 0 }],
  ['pope', ['accuracy', 'f1', 'accuracy.random'], { accuracy: 50, yesRatio: 100, 'accuracy.strict': 0 }],
];

test.each(SETS)('%s: right answers are 100, and garbage is what the rules say', async (name, full, expected) => {
  const right = await scored(name, perfect(name));
  for (const metric of full) expect(right.metrics[metric], metric).toBeCloseTo(100, 2);
  expect(right.metrics['unparsable']).toBe(0);
  const wrong = await scored(name, garbage(name));
  expect(wrong.metrics).toMatchObject(expected);
  // Short answers are texts whatever they say.
  if (!['chartqa', 'docvqa'].includes(name)) expect(wrong.metrics['unparsable']).toBe(100);
  expect(linesOf(right.perSample).map(({ id }) => id)).toEqual(perfect(name).map(({ id }) => id));
});

test('under the protocol visurf garbage earns what the published code gives it, with strict figures beside', async () => {
  const visurfRules = ['--protocol', 'visurf'];
  const { metrics, notes } = await scored('grefcoco', garbage('grefcoco'), ...visurfRules);
  expect(metrics).toMatchObject({ nAcc: 100, 'nAcc.strict': 0, gIoU: 20, 'gIoU.strict': 0, unparsable: 100 });
  expect(notes.join(' ')).toContain('cannot be read');
  expect((await scored('realiad', garbage('realiad'), ...visurfRules)).metrics).toMatchObject({
    rocAuc: 50,
    accuracy: 50,
  });
  expect((await scored('omniact', garbage('omniact'), ...visurfRules)).n).toBe(1);
});

test('without masks overlaps are of boxes, and it is said', async () => {
  const boxes = perfect('grefcoco').map(({ id, text }) => ({ id, text }));
  const { metrics, notes } = await scored('grefcoco', boxes);
  expect(metrics).toMatchObject({ gIoU: 100, nAcc: 100 });
  expect(notes.join(' ')).toContain('IoU of boxes, not of masks, in 5 of 5');
});

test('questions name what a task asks of which pictures', async () => {
  const file = join(temporaryFolder(), 'questions.jsonl');
  const args = ['--benchmark', 'grefcoco', '--data', join(home, 'grefcoco'), '--questions', file];
  expect(await visurfJson('eval', ...args, '--limit', '3')).toEqual({ questions: file, n: 3 });
  expect(linesOf(file)[0]).toEqual({
    ...{ id: '0-0', problem: 'left thing', task: 'grounding' },
    images: [join(home, 'grefcoco/images/train2014/COCO_train2014_000000000001.jpg')],
  });
});

test('a model answers, and an evaluation that was stopped goes on', async () => {
  const output = join(temporaryFolder(), 'answers.jsonl');
  const where = [
    'eval',
    '--benchmark',
    'grefcoco',
    '--data',
    join(home, 'grefcoco'),
    '--model',
    tinyModel,
    '--output',
    output,
  ];
  const args = [...where, '--max-new-tokens', '4'];
  const { metrics, n, perSample } = await visurfJson<Result>(...args);
  expect([n, perSample, metrics['gIoU'], metrics['unparsable']]).toEqual([5, output, 0, 100]);
  const answers = readFileSync(output, 'utf8').split('\n');
  const right = answers[0]!.replace(/"text":"(?:[^"\\]|\\.)*"/, `"text":${JSON.stringify('<answer>[]</answer>')}`);
  writeFileSync(output, `${right}\n${answers[1]!.slice(0, 40)}`);
  const again = await visurfJson<Result>(...args, '--resume');
  expect([again.n, again.metrics['falseEmpty'], linesOf(output).length]).toEqual([5, 25, 5]);
  expect(linesOf(output)[0]).toMatchObject({ text: '<answer>[]</answer>' });
});

const isInstalled = hasLibrary();
const SAM2 = ['--task', 'masks=sam2', '--task', `sam2=${join(fixtures, 'sam2/model')}`];

/** Of gRefCOCO, with an answer of boxes in place of the tiny model's first. */
async function answeredWithBoxes(): Promise<{ output: string; args: string[] }> {
  const output = join(temporaryFolder(), 'answers.jsonl');
  const args = ['eval', '--benchmark', 'grefcoco', '--data', join(home, 'grefcoco'), '--model', tinyModel];
  const all = [...args, '--output', output, '--max-new-tokens', '4'];
  await visurfJson<Result>(...all);
  const [first, ...rest] = linesOf(output);
  const text = '<answer>[{"bbox_2d": [2, 2, 30, 40]}, {"bbox_2d": [20, 10, 50, 50]}]</answer>';
  writeFileSync(output, [{ ...first, text }, ...rest].map((line) => `${JSON.stringify(line)}\n`).join(''));
  return { output, args: [...all, '--resume'] };
}

test.skipIf(!isInstalled)('SAM2 draws masks of what a model answered', async () => {
  const { output, args } = await answeredWithBoxes();
  const boxes = await visurfJson<Result>(...args);
  expect(boxes.notes.join()).toContain('IoU of boxes, not of masks, in 5 of 5 answers');
  const [before] = linesOf(output);
  const masks = await visurfJson<Result>(...args, ...SAM2);
  expect(masks.notes.join()).not.toContain('IoU of boxes');
  const [after] = linesOf(output);
  expect([before!['of'], after!['of'], after!['text']]).toEqual(['boxes', 'mask', before!['text']]);
  expect(after!['intersection']).not.toBe(before!['intersection']);
  expect(after!['mask']).toMatchObject({
    size: [expect.any(Number), expect.any(Number)],
    counts: expect.any(String) as string,
  });
});

test('under the protocol visurf pictures are stretched to 840 x 840 pixels', async () => {
  const output = join(temporaryFolder(), 'answers.jsonl');
  const args = ['--data', join(home, 'grefcoco'), '--model', tinyModel, '--output', output, '--max-new-tokens', '2'];
  const pixels = ['--max-pixels', String(840 * 840), '--limit', '1', '--protocol', 'visurf'];
  await visurfJson<Result>('eval', '--benchmark', 'grefcoco', ...args, ...pixels);
  expect(linesOf(output)[0]!['frame']).toMatchObject({ modelWidth: 840, modelHeight: 840 });
});

test.skipIf(isInstalled)('without the package for masks the error says how it is added', async () => {
  const { args } = await answeredWithBoxes();
  expectRefusal(await visurf(...args, ...SAM2, '--json'), 'npm install @huggingface/transformers');
});

test('what is missing is named, with what to download and where it goes', async () => {
  const folder = temporaryFolder();
  await makeBenchData(folder, ['grefcoco', 'refcoco']);
  const run = (name: string, ...args: string[]) =>
    visurf(
      'eval',
      '--benchmark',
      name,
      '--data',
      join(folder, name),
      '--questions',
      join(folder, 'q.jsonl'),
      '--json',
      ...args,
    );
  expectRefusal(await run('grefcoco', '--split', 'tset'), '--split', 'val, testA, testB, train');
  expectRefusal(await run('gref'), 'no benchmark named "gref"', 'grefcoco');
  expectRefusal(await run('isic2018'), 'no such folder', 'ISIC2018_Task1-2_Test_Input.zip');
  rmSync(join(folder, 'grefcoco/images/train2014/COCO_train2014_000000000001.jpg'));
  expectRefusal(await run('grefcoco'), 'pictures of the benchmark are missing', 'images/train2014');
  rmSync(join(folder, 'grefcoco/images'), { recursive: true });
  expectRefusal(await run('grefcoco'), 'images/train2014 is missing', 'train2014.zip');
  rmSync(join(folder, 'refcoco/refcoco/refs(unc).json'));
  writeFileSync(join(folder, 'refcoco/refcoco/refs(unc).p'), 'cos\nsystem\n');
  expectRefusal(await run('refcoco'), 'Python pickle', 'never opened', 'jxu124/refcoco');
});

test('predictions that do not fit are named by line and id', async () => {
  const folder = temporaryFolder();
  const file = join(folder, 'p.jsonl');
  const lines = perfect('isic2018');
  const run = async (...rows: unknown[]) => {
    writeFileSync(file, rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n'));
    const args = [
      '--data',
      join(home, 'isic2018'),
      '--predictions',
      file,
      '--output',
      join(folder, 'o.jsonl'),
      '--json',
    ];
    return await visurf('eval', '--benchmark', 'isic2018', ...args);
  };
  expectRefusal(await run(lines[0]), '1 of 2 questions have no prediction', 'ISIC_0000001');
  expectRefusal(await run(...lines, { id: 'x', text: '' }), 'p.jsonl:3', 'no question with the id x');
  expectRefusal(await run(...lines, lines[0]), 'p.jsonl:3', 'is also that of');
  expectRefusal(await run(lines[0], '{"id": '), 'p.jsonl:2', 'malformed JSON');
  expectRefusal(await run(lines[0], { id: 'ISIC_0000001' }), 'p.jsonl:2', 'neither a text');
  expectRefusal(
    await run(lines[0], { ...lines[1], mask: { size: [48, 64], counts: 'zz' } }),
    'p.jsonl:2',
    'counts of the mask',
  );
  expectRefusal(
    await run(lines[0], { ...lines[1], mask: { size: [2, 2], counts: '4' } }),
    'p.jsonl:2',
    'the picture 64 x 48',
  );
});

test.each([
  [['--benchmark', 'pope', '--data', 'x'], 'one of --model, --questions and --predictions'],
  [['--benchmark', 'pope', '--data', 'x', '--questions', 'q', '--predictions', 'p'], 'one of --model'],
  [['--data', 'x', '--split', 'val', '--model', 'x'], '--split goes with --benchmark'],
  [['--data', 'x'], "required option '--model <dir>'"],
  [['--benchmark', 'pope', '--data', 'x', '--questions', 'q', '--resume'], '--resume goes with --model'],
  [['--benchmark', 'pope', '--data', 'x', '--predictions', 'q', '--max-pixels', '9'], '--max-pixels goes with --model'],
  [['--benchmark', 'pope', '--data', 'x', '--questions', 'q', '--task', 'a=b'], '--task goes with --model'],
  [
    ['--benchmark', 'pope', '--data', 'x', '--questions', 'q', '--protocol', 'mine'],
    'Allowed choices are official, visurf',
  ],
])('bad usage: %j', async (args, message) => {
  expectRefusal(await visurf('eval', ...args), message);
});
