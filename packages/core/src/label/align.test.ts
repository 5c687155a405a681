import { expect, test } from 'vitest';
import { grounding } from '../tasks/grounding/grounding.ts';
import { SQUARE } from '../tasks/grounding/testkit.ts';
import { thinkingFormat } from '../tasks/thinking.ts';
import { NO_PROMPT } from '../testing/groups.ts';
import type { Prompt, Response } from '../types.ts';
import {
  alignLabel,
  countForms,
  labelTexts,
  mergeCounts,
  mostLikely,
  preferredForm,
  rarestForm,
  rememberStep,
  writeLabel,
  type Align,
  type FormHistory,
} from './align.ts';

const task = grounding.create(grounding.parameters.parse({}), []);
const [COMPACT_FORM, SPACED_FORM] = ['compact integer bare', 'spaced integer bare'];
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
  const [mostly, box] = [{ 'grounding/compact integer bare': 3 }, { ...task, name: 'box' }];
  expect([preferredForm(task, [mostly]), preferredForm(box, [mostly])]).toEqual([COMPACT_FORM, SPACED_FORM]);
});

test('the label takes the form that rollouts used most', () => {
  let history: FormHistory = [];
  expect([preferredForm(task, history), rarestForm(task, history)]).toEqual([SPACED_FORM, SPACED_FORM]);
  expect(rarestForm(task, [{ 'grounding/spaced integer bare': 3 }])).toBe(COMPACT_FORM);
  history = rememberStep(history, countForms(task, [COMPACT]));
  const form = preferredForm(task, history);
  expect(writeLabel(task, form, source)).toEqual({ form, text: COMPACT.replace('<think> a</think>', '') });
  // Steps that show no form, as those of SFT, leave what is known as it is.
  for (let step = 0; step < 20; step++) history = rememberStep(history, {});
  expect(preferredForm(task, history)).toBe(COMPACT_FORM);
  for (let step = 0; step < 16; step++) history = rememberStep(history, { 'other/form': 1 });
  expect(preferredForm(task, history)).toBe(SPACED_FORM);
  expect(JSON.parse(JSON.stringify(history))).toEqual(history);
});

const pen = {
  write: (text: string) => ({ text, tokens: Array.from(text, (letter) => letter.charCodeAt(0)), stop: 'eos' as const }),
  // The shorter, the likelier.
  logProbs: (_: Prompt, responses: readonly Response[]) => responses.map(({ tokens }) => -tokens.length),
};

test.each<[Align, string]>([
  ['format', 'tight-lists integer bare'],
  ['off', 'spaced integer bare'],
  ['rarest', 'spaced integer bare'],
  ['likelihood', 'compact integer bare'],
])('align: %s', (align, expected) => {
  const history = [{ 'grounding/tight-lists integer bare': 2, 'grounding/compact integer bare': 1 }];
  const question = { ...source, prompt: NO_PROMPT };
  const label = alignLabel(task, question, 'member', align, history, pen);
  const response = pen.write(writeLabel(task, expected, source).text);
  expect(label).toEqual({ place: 'member', form: expected, response });
  expect(alignLabel(task, question, 'none', align, history, pen)).toBeUndefined();
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
  expect(texts[0]).toBe('<think> the left one </think><answer>[{"bbox_2d": [1, 2, 3, 4]}]</answer>');
  expect(new Set(texts.map((text) => text.split('<answer>')[0]))).toEqual(new Set(['<think> the left one </think>']));
  for (const text of texts) expect(thinkingFormat({ text, stop: 'eos' })).toBe(1);
});

test('forms that read alike are one, by the name of the first', () => {
  const nothing = { ...source, truth: { objects: [] } };
  const [first, ...others] = labelTexts(task, nothing);
  expect(first!.form).toBe(task.forms[0]!.name);
  expect(new Set([first, ...others].map((each) => each!.text)).size).toBe(1 + others.length);
  expect(() => mostLikely([], [])).toThrow('0 labels and 0 log-probabilities');
  expect(() => mostLikely([first!], [])).toThrow('1 labels and 0 log-probabilities');
});
