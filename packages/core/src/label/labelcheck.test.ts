/** Labels that cannot win, one by one among others. */
import { expect, test } from 'vitest';
import { makeScorer } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import { labelsThatCannotWin, labelWarnings } from './labelcheck.ts';

const task = grounding.create(grounding.parameters.parse({}), []);
const box = (x: number) => ({ bbox_2d: [x, 10, x + 150, 160] });

test.each([0, 1, 2, 3])('place %i of four: that label is found, with its own rewards', async (place) => {
  const subjects = [0, 1, 2, 3].map((i) => {
    // Half a mark of four objects is less than a thought; one object is not reached.
    const one = sample(i === place ? [0, 200, 400, 600].map(box) : [box(0)], { id: `s${i}` });
    return { sample: one, truth: task.parseTruth(one), frames: [SQUARE] };
  });
  const control = { eliminate: 'on', thinking: 'eliminate' } as const;
  const found = await labelsThatCannotWin(makeScorer(task), subjects, control);
  expect(found).toMatchObject([{ sample: { id: `s${place}` }, label: 5, rival: 5.125, rivalIs: 'nearly right' }]);
});

test('up to five are named; each kind has its remedy', () => {
  const losing = (n: number, rivalIs: 'wrong' | 'nearly right') =>
    Array.from({ length: n }, (_, i) => ({ sample: sample([], { id: `s${i}` }), label: 5, rival: 5, rivalIs }));
  const [five] = labelWarnings(losing(5, 'wrong'), 9, { smooth: 'accuracy' });
  expect(five).toBe(
    'the label of 5 of 9 samples cannot win against a wrong answer with thinking (s0, s1, s2, s3, s4): ' +
      'lower task.weights.thinking',
  );
  const [six] = labelWarnings(losing(6, 'wrong'), 9, { smooth: 'accuracy' });
  expect(six).toContain('(s0, s1, s2, s3, s4, ...)');
});
