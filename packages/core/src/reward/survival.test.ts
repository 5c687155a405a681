/** Labels that the model cannot write as they are. */
import { expect, test } from 'vitest';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample } from '../tasks/grounding/testkit.ts';
import { makeScorer, type Subject } from './reward.ts';
import { LostLabels, lostLabel } from './survival.ts';

const task = { ...grounding.create(grounding.parameters.parse({}), []), lost: (truth: unknown) => truth as string };
const scorer = makeScorer(task as unknown as Parameters<typeof makeScorer>[0]);

/** Subjects whose truth is why they are lost. */
const subjects = (...reasons: readonly (string | undefined)[]): Subject[] =>
  reasons.map((truth, i) => ({ sample: sample([], { id: `s${i}` }), truth, frames: [] }));

test('a label is lost where its task says why', () => {
  const all = subjects(undefined, 'too small', undefined, 'gone');
  expect(all.map((subject) => lostLabel(scorer, subject))).toEqual([
    ...[undefined, { ...all[1]!, reason: 'too small' }, undefined, { ...all[3]!, reason: 'gone' }],
  ]);
  const { lost: _, ...other } = task;
  const careless = makeScorer(other as unknown as Parameters<typeof makeScorer>[0]);
  expect(all.map((subject) => lostLabel(careless, subject))).toEqual([undefined, undefined, undefined, undefined]);
});

test('five are named with their lines, the others counted', () => {
  const lines = (n: number) => {
    const lost = new LostLabels();
    for (const subject of subjects(...Array.from({ length: n }, (_, i) => `reason ${i}`))) {
      lost.add(lostLabel(scorer, subject)!);
    }
    return lost.describe(9)?.split('\n');
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
