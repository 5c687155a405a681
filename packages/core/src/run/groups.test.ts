import { expect, test } from 'vitest';
import { labelOf, NO_PROMPT, rolloutOf } from '../testing/groups.ts';
import type { Group, Terms } from '../types.ts';
import { groupRecord } from './groups.ts';

const source = { file: 'train.jsonl', line: 1 };
const sample = {
  id: 'a',
  images: ['/a.png'],
  problem: 'red circle',
  solution: '[]',
  task: 'grounding',
  extra: {},
  source,
};
const prompt = { ...NO_PROMPT, inputIds: [1], pixelValues: new Float32Array(4) };
const marks = () => ({ boxes: [[1, 2, 3, 4] as const], points: [] });

test('a record has what was said and what it earned, and no tensors', () => {
  const said = { tokens: [3, 4], text: '<answer>[]</answer>', terms: { accuracy: 1 }, reward: 1, advantage: 2.5 };
  const label = { ...labelOf(said, 'member'), form: 'compact', rewardBefore: 1.5, active: false, reachedBy: [0] };
  const group: Group = { sample, prompt, label, rollouts: [rolloutOf({ ...said, stop: 'length' }, true)], skipped: 0 };
  const response = {
    ...{ text: '<answer>[]</answer>', length: 2, logProb: -6, terms: { accuracy: 1 }, reward: 1, advantage: 2.5 },
    ...{ boxes: [[1, 2, 3, 4]], points: [] },
  };
  expect(groupRecord(7, group, { marks, logProb: () => -6 })).toEqual({
    ...{ step: 7, id: 'a', problem: 'red circle', solution: '[]' },
    label: {
      ...{ ...response, stop: 'eos' },
      ...{ place: 'member', form: 'compact', active: false, rewardBefore: 1.5, weight: 1, reachedBy: [0] },
    },
    rollouts: [{ ...response, stop: 'length', masked: true }],
  });
});

test('tokens are kept of the rollouts that are asked for', () => {
  const rollouts = [0, 1].map((accuracy) => rolloutOf({ tokens: [accuracy], terms: { accuracy } }));
  const keepsTokens = ({ accuracy }: Terms) => accuracy === 0;
  const group: Group = { sample, prompt, rollouts, skipped: 0 };
  const record = groupRecord(1, group, { marks, logProb: () => undefined, keepsTokens });
  expect(record.rollouts.map(({ tokens }) => tokens)).toEqual([[0], undefined]);
  expect(record.rollouts.map(({ logProbs }) => logProbs !== undefined)).toEqual([true, false]);
});

test('a group without a label has none on record', () => {
  const record = groupRecord(1, { sample, prompt, rollouts: [], skipped: 0 }, { marks, logProb: () => undefined });
  expect(JSON.parse(JSON.stringify(record))).not.toHaveProperty('label');
});
