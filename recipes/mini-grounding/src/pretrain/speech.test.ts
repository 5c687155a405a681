import { tensor, zeros } from '@visurf/torch';
import { expect, test } from 'vitest';

import { Random } from '../random.ts';
import { idOf, NUMBER_IDS, VOCABULARY } from '../vocabulary.ts';
import { drawLessons } from './lessons.ts';
import { saidTokens, speechLoss } from './speech.ts';

const scene = [{ color: 'red', shape: 'circle', box: [30, 40, 60, 70], center: [45, 55] }] as const;
const random = new Random('speech');
const lessons = drawLessons(scene, random, { careful: 0, direct: 1, margin: 4, jitter: 0, find: 1, imagine: false });
const [find, present] = lessons;
const weights = { find: 1, imagine: 0.2, existsAnswer: 0.3, existsForm: 0.1 };

test('answers are said, questions are not; the watched states are where the answer turns to the image', () => {
  const said = saidTokens([lessons]);
  const own = said.filter(({ lesson }) => lesson === find);
  expect(own.map(({ target }) => target)).toEqual(find?.said.slice(find.questionLength));
  expect(own.map(({ index }) => index)).toEqual(own.map((_, i) => (find?.questionLength ?? 0) + i));
  // Start, what follows `[`, and four numbers.
  expect(own.filter(({ watched }) => watched)).toHaveLength(6);
  const [asked] = said.filter(({ lesson }) => lesson === present);
  expect(asked?.index).toBe((find?.said.length ?? 0) + (present?.questionLength ?? 0));
});

test('a model that knows nothing pays log(vocabulary) for every token', () => {
  const said = saidTokens([lessons]);
  const logits = zeros([said.length, VOCABULARY.size]);
  const speech = speechLoss(logits, said, weights, NUMBER_IDS, { blur: 1, distance: 0 });
  expect(speech.mean('find').item()).toBeCloseTo(Math.log(VOCABULARY.size), 4);
  expect(speech.loss.item()).toBeCloseTo((1 + 0.3 + 0.1) * Math.log(VOCABULARY.size), 4);
  // The mean distance of a uniform number from each corner of the loose box 26, 36, 64, 74.
  const mean = (corner: number): number =>
    NUMBER_IDS.reduce((sum, _, value) => sum + Math.abs(value - corner), 0) / 113;
  expect(speech.distance.item()).toBeCloseTo([26, 36, 64, 74].reduce((sum, corner) => sum + mean(corner), 0) / 4, 3);
});

test('a number is off by the expected distance, and pays for it', () => {
  const spoken = { target: idOf('50'), group: 'find', pixel: 50, measured: true } as const;
  // Half of the mass on 50, half on 54.
  const row = Array<number>(VOCABULARY.size).fill(-1e4);
  row[idOf('50')] = 0;
  row[idOf('54')] = 0;
  const { loss, distance } = speechLoss(tensor([row]), [spoken], weights, NUMBER_IDS, { blur: 1e-3, distance: 0.5 });
  expect(distance.item()).toBeCloseTo(2, 5);
  expect(loss.item()).toBeCloseTo(Math.log(2) + 0.5 * 2, 5);
});
