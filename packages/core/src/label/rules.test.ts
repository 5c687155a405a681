/** Smoothing by reward and by accuracy: where both switch off the same labels, and where they do not. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeScorer, scoreTerms } from '../reward/reward.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import { taskDefinition } from '../tasks/registry.ts';
import { controlLabel } from './control.ts';

const CONTROL = { inject: 'always', eliminate: 'on', thinking: 'eliminate' } as const;

/** Whether each rule has the label switched off by one rollout. */
function bothRules(name: string, solution: unknown, text: string, stop: 'eos' | 'length' = 'eos') {
  const definition = taskDefinition(name);
  const one = sample(solution, { task: name });
  const task = definition.create(definition.parameters.parse({}), [one]);
  const scorer = makeScorer(task);
  const subject = { sample: one, frames: [SQUARE], truth: task.parseTruth(one, [SQUARE]) };
  const label = scoreTerms(scorer, { text: task.forms[0]!.write(subject.truth, [SQUARE]), stop: 'eos' }, subject);
  const rollout = scoreTerms(scorer, { text, stop }, subject);
  const isOff = (smooth: 'reward' | 'accuracy') =>
    !controlLabel(scorer, label, [rollout], { ...CONTROL, smooth }).active;
  return { byReward: isOff('reward'), byAccuracy: isOff('accuracy') };
}

const [EXACT, HALF, WRONG] = ['[10,10,200,200]', '[10,10,200,260]', '[700,700,800,800]'];
const item = fc.constantFrom(
  ...[EXACT, HALF, WRONG, '[1]'].map((box) => `{"bbox_2d":${box}}`),
  ...['{"point_2d":[100,100]}', '{"point_2d":[800,800]}', '{}', '7'],
);
const list = fc.array(item, { maxLength: 3 }).map((items) => `[${items.join(',')}]`);
const right = fc.constant(`[{"bbox_2d":${EXACT}}]`);
const answer = fc.oneof(list, right, fc.constantFrom('yes', 'no', 'No.', 'perhaps', '3', '4', ''));
const said = fc
  .tuple(fc.constantFrom('<think> so</think>', '<think></think>', ''), answer, fc.boolean())
  .map(([thought, words, boxed]) => `${thought}${boxed ? `\\boxed{${words}}` : `<answer>${words}</answer>`}`);
const stop = fc.constantFrom<'eos' | 'length'>('eos', 'length');

const object = [{ bbox_2d: [10, 10, 200, 200] }];
test.each([
  ['grounding', object],
  ['grounding', []],
  ['box', object],
  ['anomaly', 'yes'],
  ['math', '3'],
])('%s, one object at most: both rules switch off the same labels (%j)', (name, solution) => {
  const found = { on: 0, off: 0 };
  fc.assert(
    fc.property(said, stop, (text, ended) => {
      const { byReward, byAccuracy } = bothRules(name, solution, text, ended);
      expect(byReward).toBe(byAccuracy);
      found[byReward ? 'off' : 'on']++;
    }),
    { numRuns: 1000, seed: 3 },
  );
  expect(Math.min(found.on, found.off)).toBeGreaterThan(20);
});

test('a click: they differ on an answer of two points, and on a box in place of a point', () => {
  const inside = '{"point_2d":[100,100]}';
  const of = (items: string) => bothRules('click', object, `<think> so</think><answer>[${items}]</answer>`);
  expect(of(inside)).toEqual({ byReward: true, byAccuracy: true });
  expect(of('{"point_2d":[800,800]}')).toEqual({ byReward: false, byAccuracy: false });
  expect(of(`${inside},{"point_2d":[800,800]}`)).toEqual({ byReward: true, byAccuracy: false });
  expect(of(`{"bbox_2d":${EXACT}}`)).toEqual({ byReward: false, byAccuracy: true });
});

test('several objects: half a mark of three is worth a thought', () => {
  const three = [0, 250, 500].map((x) => [x, x, x + 200, x + 200]);
  const solution = three.map((bbox_2d) => ({ bbox_2d }));
  const nearly = JSON.stringify([...solution.slice(1), { bbox_2d: [0, 0, 200, 260] }]);
  const of = (thought: string) => bothRules('grounding', solution, `${thought}<answer>${nearly}</answer>`);
  expect(of('<think> so</think>')).toEqual({ byReward: true, byAccuracy: false });
  expect(of('')).toEqual({ byReward: false, byAccuracy: false });
});
