/** Labels that the model cannot write as they are. */
import { expect, test } from 'vitest';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample } from '../tasks/grounding/testkit.ts';
import { makeScorer, type Subject } from './reward.ts';
import { describeLost, lostLabels, withoutLost } from './survival.ts';

const task = { ...grounding.create(grounding.parameters.parse({}), []), lost: (truth: unknown) => truth as string };
const scorer = makeScorer(task as unknown as Parameters<typeof makeScorer>[0]);

/** Subjects whose truth is why they are lost. */
const subjects = (...reasons: readonly (string | undefined)[]): Subject[] =>
  reasons.map((truth, i) => ({ sample: sample([], { id: `s${i}` }), truth, frames: [] }));

test('what is lost is left out, and the rest is taught in its order', () => {
  const all = subjects(undefined, 'too small', undefined, 'gone');
  const { taught, lost } = withoutLost(scorer, all);
  expect(taught).toEqual([all[0], all[2]]);
  expect(lost).toEqual([
    { ...all[1]!, reason: 'too small' },
    { ...all[3]!, reason: 'gone' },
  ]);
  expect(lostLabels(scorer, all)).toEqual(lost);
  const { lost: _, ...other } = task;
  const careless = makeScorer(other as unknown as Parameters<typeof makeScorer>[0]);
  expect(withoutLost(careless, all)).toEqual({ taught: all, lost: [] });
});

test('five are named with their lines, the others counted', () => {
  const lines = (n: number) => {
    const lost = lostLabels(scorer, subjects(...Array.from({ length: n }, (_, i) => `reason ${i}`)));
    return describeLost(lost, 9)?.split('\n');
  };
  expect(lines(0)).toBeUndefined();
  const five = lines(5)!;
  expect(five[0]).toBe("5 of 9 samples are left out: their labels do not survive the model's coordinates");
  expect(five[1]).toContain('visurf data check FILE --model MODEL');
  expect(five.slice(2).map((line) => /^ {2}(\S+):\d+ \((s\d)\): (reason \d)$/.exec(line)?.slice(2))).toEqual(
    [0, 1, 2, 3, 4].map((i) => [`s${i}`, `reason ${i}`]),
  );
  expect(lines(7)!.slice(7)).toEqual(['  and 2 more']);
});
