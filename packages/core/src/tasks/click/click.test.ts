import { expect, test } from 'vitest';
import { sample, SQUARE } from '../grounding/testkit.ts';
import { click } from './click.ts';

const task = click.create(click.parameters.parse({}), []);
const truth = task.parseTruth(sample([{ bbox_2d: [100, 100, 200, 140] }]));
const ask = (json: string) => {
  const answer = { text: `<answer>${json}</answer>`, stop: 'eos' } as const;
  return { ...task.evaluate(answer, truth, [SQUARE]), ...task.terms(answer, truth, [SQUARE]) };
};

test.each<[string, string, boolean, number]>([
  ['a corner belongs to the box', '[{"point_2d":[100,100]}]', true, 1],
  ['so does the opposite one', '[{"point_2d":[200,140]}]', true, 1],
  ['half a pixel aside', '[{"point_2d":[200.5,120]}]', false, 0],
  ['a box alone stands for its centre', '[{"bbox_2d":[120,100,180,140]}]', true, 1],
  ['one of two points', '[{"point_2d":[150,120]},{"point_2d":[0,0]}]', true, 0.5],
  ['points come before boxes', '[{"bbox_2d":[120,100,180,140],"point_2d":[0,0]}]', false, 0],
  ['nothing', '[]', false, 0],
  ['no list', '(150, 120)', false, 0],
])('%s', (_, json, hit, accuracy) => {
  expect(ask(json)).toMatchObject({ hit, accuracy });
});

test('a well-formed click has a point in every item', () => {
  expect(ask('[{"point_2d":[1,2]}]').format).toBe(1);
  expect(ask('[{"bbox_2d":[120,100,180,140]}]').format).toBe(0);
  expect(ask('[]').format).toBe(0);
});

test('the label clicks the centre', () => {
  expect(task.forms[0]!.write(truth, [SQUARE])).toBe('<answer>[{"point_2d":[150,120]}]</answer>');
  expect(task.metrics([ask('[{"point_2d":[150,120]}]'), ask('no')])).toEqual({
    accuracy: 50,
    thinking: 0,
    malformed: 50,
  });
});

test('coordinates beyond all numbers are far away, and miss', () => {
  const frame = { width: 4000, height: 4000, modelWidth: 400, modelHeight: 400 };
  const text = '<answer>[{"point_2d":[1e308,1],"bbox_2d":[0,0,1e308,1e308]}]</answer>';
  const { points, boxes } = task.parse(text, [frame]);
  expect([...points, ...boxes].flat().every(Number.isFinite)).toBe(true);
  expect(task.terms({ text, stop: 'eos' }, truth, [frame])).toMatchObject({ accuracy: 0 });
});

test('a control whose centre lies beside it in whole coordinates is lost', () => {
  const frame = { width: 4000, height: 3000, modelWidth: 1000, modelHeight: 1000 };
  const lost = (x0: number, x1: number) => task.lost!({ box: [x0, 100, x1, 140] }, [frame]);
  expect(lost(100, 108)).toBeUndefined();
  expect(lost(101, 103)).toContain('is written [{"point_2d":[26,40]}], which lies beside it');
});
