/** Masks as a reward: the true mask in every form that COCO has, and what an answer earns. */
import { copyFileSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { Experiment } from '../question/experiment.ts';
import { labelsThatCannotWin } from '../label/labelcheck.ts';
import { scoreGroups, type Subject } from '../reward/reward.ts';
import { evaluateAnswers, summariseSets } from '../eval/summary.ts';
import { hasLibrary } from '../testing/library.ts';
import { fixtures } from '../testing/oracle.ts';
import { sample } from '../tasks/grounding/testkit.ts';
import type { Box, Point, Sample } from '../types.ts';
import { requireLibrary } from './exported.ts';
import { countsOf, decodeCounts, decodeRle, encodeRle } from './masks.ts';
import { outlined } from './reward.ts';
import { readTruthMask } from './truth.ts';

const size = { width: 6, height: 6 };
const SQUARE = [1, 1, 4, 1, 4, 4, 1, 4];

test('true masks: polygons, run lengths, compressed and not, and lists of them', () => {
  const square = readTruthMask(SQUARE, size);
  expect(square.data.reduce((sum, value) => sum + value, 0)).toBe(9);
  const rle = encodeRle(square);
  expect(rle.counts).toBe('733000;');
  for (const value of [[SQUARE], rle, { ...rle, counts: decodeCounts(rle.counts) }, [rle, SQUARE]]) {
    expect(readTruthMask(value, size)).toEqual(square);
  }
  const both = readTruthMask([SQUARE, [0, 0, 2, 0, 2, 6, 0, 6]], size);
  expect(countsOf(both)).toEqual([0, 12, 1, 3, 3, 3, 14]);
  expect(readTruthMask([], size).data.every((value) => value === 0)).toBe(true);
});

test.each([
  [{ size: [6, 7], counts: [42] }, /of 7 x 6 pixels, the picture of 6 x 6/],
  [{ size: [6, 6], counts: [35] }, /do not fill/],
  [{ size: [6, 6] }, /neither run lengths nor polygons/],
  [[[1, 2, 3]], /neither run lengths nor polygons/],
  ['733000;', /neither run lengths nor polygons/],
])('%j is no mask of the picture', (value, message) => {
  expect(() => readTruthMask(value, size)).toThrow(message);
});

test('a box is drawn with its points, boxes with one each, or alone', () => {
  const [a, b]: Box[] = [
    [0, 0, 1, 1],
    [2, 2, 3, 3],
  ];
  const [p, q]: Point[] = [
    [0, 1],
    [2, 3],
  ];
  expect(outlined({ boxes: [a!], points: [p!, q!] })).toEqual([{ box: a, points: [p, q] }]);
  expect(outlined({ boxes: [a!, b!], points: [p!, q!] }).map(({ points }) => points)).toEqual([[p], [q]]);
  expect(outlined({ boxes: [a!, b!], points: [p!] }).map(({ points }) => points)).toEqual([[], []]);
});

test('without the package everything else works, and the error says how it is added', () => {
  const missing = (): never => {
    throw Object.assign(new Error('no'), { code: 'MODULE_NOT_FOUND' });
  };
  expect(() => requireLibrary(missing)).toThrow(
    'masks by SAM2 need the package @huggingface/transformers, which is not installed\n' +
      '  Add it: ONNXRUNTIME_NODE_INSTALL=skip npm install @huggingface/transformers',
  );
});

test('samples without a mask are refused, and a weight without masks', () => {
  const open = (parameters: object, ...samples: Sample[]) =>
    Experiment.open({ parameters: { grounding: parameters as Record<string, unknown> } }).decide(samples);
  const there = sample([{ bbox_2d: [1, 2, 3, 4] }]);
  expect(() => open({ masks: 'sam2' }, sample([]), there)).toThrow(/train.jsonl:7 \(s1\): the sample has no "mask"/);
  expect(() => open({ weights: { mask: 1 } }, there)).toThrow(/weights.mask is of masks, and none are drawn/);
});

const isInstalled = hasLibrary();

describe.skipIf(!isInstalled)('with @huggingface/transformers, which is optional', () => {
  const folder = path.join(fixtures, 'sam2');
  const [, { image, size: shape, objects, stretched }] = JSON.parse(
    readFileSync(path.join(folder, 'cases.json'), 'utf8'),
  ) as [
    unknown,
    {
      image: string;
      size: [number, number];
      objects: { box: Box; points: Point[] }[];
      stretched: { counts: string }[];
    },
  ];
  const [height, width] = shape;
  const frame = { width, height, modelWidth: width, modelHeight: height };
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'visurf-mask-')), image);
  copyFileSync(path.join(folder, image), file);
  process.env['XDG_CACHE_HOME'] = path.dirname(file);

  /** Of two objects: the box alone, and the box with its point. */
  const [first, second] = [objects[0]!, objects[1]!];
  const union = [0, 1].map((i) => decodeRle({ size: shape, counts: stretched[i]!.counts }));
  const mask = encodeRle({ width, height, data: union[0]!.data.map((value, i) => value | union[1]!.data[i]!) });
  const given = sample([{ bbox_2d: first.box }, { bbox_2d: second.box }], { images: [file], extra: { mask } });
  const absent = sample([], { images: [file] });

  test('an answer earns the IoU of its masks, and evaluation reports the mean', async () => {
    const parameters = {
      grounding: { masks: 'sam2', sam2: path.join(folder, 'model'), weights: { mask: 2 }, points: true },
    };
    const scorer = Experiment.open({ parameters: { grounding: { ...parameters.grounding, points: false } } }).decide([
      given,
      absent,
    ]).scorer;
    expect(scorer.weights).toMatchObject({ accuracy: 1, mask: 2 });
    const subject = (own: Sample): Subject => ({
      sample: own,
      truth: scorer.task.parseTruth(own, [frame]),
      frames: [frame],
    });
    const say = (...boxes: Box[]) => ({
      text: `<answer>${JSON.stringify(boxes.map((bbox_2d) => ({ bbox_2d })))}</answer>`,
      stop: 'eos' as const,
    });
    const answers = [say(first.box, second.box), say(first.box), say(), { ...say(), text: 'none' }];
    const [there, nowhere] = await scoreGroups([
      { scorer, subject: subject(given), answers },
      { scorer, subject: subject(absent), answers: [say(), say(first.box), { ...say(), text: 'none' }] },
    ]);
    const marks = there!.map((terms) => terms!['mask']!);
    // The second object was recorded with its point.
    expect(marks[0]).toBeGreaterThan(0.5);
    expect(marks[1]).toBeGreaterThan(0.2);
    expect(marks.slice(2)).toEqual([0, 0]);
    expect(nowhere!.map((terms) => terms!['mask'])).toEqual([1, 0, 0]);
    const evaluated = await evaluateAnswers(scorer, [
      { answer: answers[0]!, subject: subject(given) },
      { answer: say(), subject: subject(absent) },
    ]);
    const own = [given, absent];
    const metrics = summariseSets(
      scorer,
      evaluated.map((each, i) => ({ ...each, sample: own[i]! })),
    );
    expect(metrics['maskIoU']).toBeCloseTo(50 * (marks[0]! + 1), 9);
    expect(await labelsThatCannotWin(scorer, [subject(given)], { eliminate: 'on', thinking: 'eliminate' })).toEqual([]);
  });

  test('a picture that cannot be read is named', async () => {
    const parameters = { grounding: { masks: 'sam2', sam2: path.join(folder, 'model') } };
    const lost = { ...given, images: ['/nowhere/a.png'] };
    const { scorer } = Experiment.open({ parameters }).decide([lost]);
    const subject = { sample: lost, truth: scorer.task.parseTruth(lost, [frame]), frames: [frame] };
    const answers = [{ text: '<answer>[{"bbox_2d":[1,2,3,4]}]</answer>', stop: 'eos' as const }];
    await expect(scoreGroups([{ scorer, subject, answers }])).rejects.toThrow(
      /train.jsonl:7 \(s1\): the reward "mask" failed: \/nowhere\/a.png: image file not found/,
    );
  });
});
