import { expect, test } from 'vitest';
import { sample } from '../grounding/testkit.ts';
import { anomaly } from './anomaly.ts';
import { rocAuc } from './auc.ts';

// Expected values of scikit-learn's roc_auc_score.
test.each<[string, number[], number[], number | undefined]>([
  ['a mistake in the middle', [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75],
  ['all alike', [0, 1, 1, 0], [0.3, 0.3, 0.3, 0.3], 0.5],
  ['a tie', [0, 1, 1], [0.2, 0.2, 0.9], 0.75],
  ['the wrong way round', [0, 1], [0.9, 0.1], 0],
  ['hard answers', [1, 1, 1, 0, 0], [1, 1, 0, 0, 1], (2 / 3 + 1 / 2) / 2],
  ['a tie above', [0, 0, 1], [0.3, 0.7, 0.7], 0.75],
  ['one class', [1, 1], [0.1, 0.9], undefined],
])('area under the curve: %s', (_, classes, scores, expected) => {
  const samples = classes.map((each, i) => ({ positive: each === 1, score: scores[i]! }));
  const area = rocAuc(samples);
  if (expected === undefined) expect(area).toBeUndefined();
  else expect(area).toBeCloseTo(expected, 12);
});

test('always no is 50, what cannot be read is undecided, and one class has no area', () => {
  const task = anomaly.create(anomaly.parameters.parse({}), []);
  const evaluate = (solution: string, said: string) =>
    task.evaluate({ text: `<answer>${said}</answer>`, stop: 'eos' }, task.parseTruth(sample(solution)), []);
  const no = [evaluate('yes', 'no'), evaluate('no', 'no'), evaluate('no', 'No.')];
  expect(task.metrics(no)).toMatchObject({ rocAuc: 50, sensitivity: 0, specificity: 100, malformed: 0 });
  expect(task.metrics([...no, evaluate('yes', 'YES')])).toMatchObject({ rocAuc: 75, accuracy: 75, sensitivity: 50 });
  expect(task.metrics([evaluate('yes', 'hm'), evaluate('no', 'no')])).toMatchObject({ rocAuc: 100, malformed: 50 });
  expect(task.metrics([evaluate('yes', 'hm'), evaluate('no', 'hm')])).toMatchObject({ rocAuc: 50, accuracy: 0 });
  expect(task.metrics([evaluate('no', 'no')])).not.toHaveProperty('rocAuc');
});
