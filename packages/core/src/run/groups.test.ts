import { expect, test } from 'vitest';
import type { Group } from '../types.ts';
import { groupRecord } from './groups.ts';

test('a record has what was said and what it earned, and no tensors', () => {
  const group: Group = {
    sample: {
      id: 'a',
      images: ['/a.png'],
      problem: 'red circle',
      solution: '[]',
      task: 'grounding',
      extra: {},
      source: { file: 'train.jsonl', line: 1 },
    },
    prompt: {
      rendered: '',
      inputIds: [1],
      pixelValues: new Float32Array(4),
      imageGridThw: [],
      positionIds: [[0], [0], [0]],
      frames: [],
    },
    members: [
      {
        kind: 'label',
        response: { tokens: [3, 4], text: '<answer>[]</answer>', stop: 'eos' },
        terms: { accuracy: 1 },
        reward: 1,
        advantage: 2.5,
      },
    ],
    label: { form: 'compact', active: true, role: 'member' },
  };
  const marks = () => ({ boxes: [[1, 2, 3, 4] as const], points: [] });
  expect(groupRecord(7, group, { marks, logProb: () => -6 })).toEqual({
    step: 7,
    id: 'a',
    images: ['/a.png'],
    problem: 'red circle',
    solution: '[]',
    label: { form: 'compact', active: true, role: 'member' },
    members: [
      {
        kind: 'label',
        text: '<answer>[]</answer>',
        stop: 'eos',
        length: 2,
        logProb: -6,
        terms: { accuracy: 1 },
        reward: 1,
        advantage: 2.5,
        boxes: [[1, 2, 3, 4]],
        points: [],
      },
    ],
  });
});
