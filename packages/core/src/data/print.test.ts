import { expect, test } from 'vitest';
import { sample } from '../tasks/grounding/testkit.ts';
import type { Sample } from '../types.ts';
import { dataChange, hashesOf, printOfHashes } from './print.ts';

const samples = ['a', 'b', 'c'].map((id) => sample([], { id }));
const before = printOfHashes('/data/train.jsonl', hashesOf(samples));
const moved = samples.map((each): Sample => ({ ...each, source: { file: '/elsewhere/train.jsonl', line: 9 } }));

test.each<[string, readonly Sample[], string | undefined]>([
  ['nothing', samples, undefined],
  ['the folder', moved, undefined],
  ['growth', [...samples, sample([], { id: 'd' })], '1 samples were appended'],
  ['order', samples.toReversed(), 'the samples are in another order'],
  ['a label', [...samples.slice(0, 2), sample([{ bbox_2d: [1, 2, 3, 4] }], { id: 'c' })], 'samples were edited'],
  ['loss', samples.slice(1), 'it had 3 samples and has 2'],
  ['a line at the start', [sample([], { id: 'd' }), ...samples], 'it had 3 samples and has 4'],
])('what changed is told: %s', (_, now, change) => {
  expect(dataChange(before, hashesOf(now))).toBe(change);
});

test('the file is kept by its name, so that a moved project goes on', () => {
  expect(before).toMatchObject({ file: 'train.jsonl', samples: 3 });
});
