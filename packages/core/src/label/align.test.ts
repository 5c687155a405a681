import { expect, test } from 'vitest';
import { grounding } from '../tasks/grounding/grounding.ts';
import { SQUARE } from '../tasks/grounding/testkit.ts';
import { thinkingFormat } from '../tasks/thinking.ts';
import {
  countForms,
  labelTexts,
  mergeCounts,
  mostLikely,
  preferredForm,
  rarestForm,
  rememberStep,
  writeLabel,
  type FormHistory,
} from './align.ts';

const task = grounding.create(grounding.parameters.parse({}), []);
const COMPACT = '<think> a</think><answer>[{"bbox_2d":[1,2,3,4]}]</answer>';
const SPACED = '<answer>[{"bbox_2d": [1, 2, 3, 4]}]</answer>';
const source = {
  sample: {},
  truth: { objects: [{ box: [1, 2, 3, 4] as const, point: undefined }] },
  frames: [SQUARE],
};

test('counts the forms of well-formed rollouts, by task', () => {
  const counts = countForms(task, [COMPACT, SPACED, SPACED, '<answer>[]</answer>', 'garbage']);
  expect(counts).toEqual({ 'grounding/compact integer bare': 1, 'grounding/spaced integer bare': 2 });
  expect(mergeCounts([counts, counts, { other: 1 }])).toEqual({
    'grounding/compact integer bare': 2,
    'grounding/spaced integer bare': 4,
    other: 1,
  });
  expect(preferredForm({ ...task, name: 'box' }, [counts])).toBe('compact integer bare');
});

test('the label takes the form that the last finished steps used most', () => {
  let history: FormHistory = [];
  expect(preferredForm(task, history)).toBe('compact integer bare');
  expect(rarestForm(task, history)).toBe('compact integer bare');
  expect(rarestForm(task, [{ 'grounding/compact integer bare': 3 }])).toBe(task.forms[1]!.name);
  history = rememberStep(history, countForms(task, [SPACED]));
  const form = preferredForm(task, history);
  expect(writeLabel(task, form, source)).toEqual({ form, text: SPACED });
  for (let step = 0; step < 16; step++) history = rememberStep(history, {});
  expect(preferredForm(task, history)).toBe('compact integer bare');
  expect(rarestForm(task, history)).toBe('compact integer bare');
  expect(rarestForm(task, [{ 'grounding/compact integer bare': 3 }])).toBe(task.forms[1]!.name);
  expect(JSON.parse(JSON.stringify(history))).toEqual(history);
});

test('a recognised form is one that the task has', () => {
  expect(task.forms.map(({ name }) => name)).toContain(task.recognise(SPACED));
  expect(() => writeLabel(task, 'fancy', source)).toThrow('fancy');
});

test('likelihood chooses among distinct texts', () => {
  expect(labelTexts(task, source)).toHaveLength(18);
  const empties = labelTexts(task, { ...source, truth: { objects: [] } });
  expect(empties.map(({ text }) => text)).toEqual([
    '<answer>[]</answer>',
    '<answer>\n[]\n</answer>',
    '<answer>\n```json\n[]\n```\n</answer>',
  ]);
  expect(mostLikely(empties, [-9, -3, -3])).toBe(empties[1]);
  expect(() => mostLikely(empties, [-9])).toThrow('3 labels and 1 log-probabilities');
});

test('a label with reasoning of its own says it before the answer, in every form', () => {
  const texts = labelTexts(task, { ...source, sample: { thinking: ' the left one ' } }).map(({ text }) => text);
  expect(texts[0]).toBe('<think> the left one </think><answer>[{"bbox_2d":[1,2,3,4]}]</answer>');
  expect(new Set(texts.map((text) => text.split('<answer>')[0]))).toEqual(new Set(['<think> the left one </think>']));
  for (const text of texts) expect(thinkingFormat({ text, stop: 'eos' })).toBe(1);
});
