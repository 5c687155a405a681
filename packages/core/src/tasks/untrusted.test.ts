/** Responses are untrusted: whatever a model writes is read without a throw, gives finite numbers, and takes linear time. */
import { describe, expect, test } from 'vitest';
import { sample } from './grounding/testkit.ts';
import { orderOf, SUPERLINEAR } from '../testing/growth.ts';
import { budget, held, random } from '../testing/reliability.ts';
import { taskDefinition, taskNames } from './registry.ts';

const GENERATED = budget(100_000, 6_000_000);
/** Characters of a long response. */
const LONG = 16_000;

const MATH_VISTA = { question_type: 'free_form', answer_type: 'float', precision: 2 };
const INTEGER = { question_type: 'free_form', answer_type: 'integer' };
const CHOICE = { question_type: 'multi_choice', answer_type: 'text', choices: ['12 cm', '\\frac{1}{2}', 'B'] };
const SUBJECTS = [
  ['math', '7.25', MATH_VISTA],
  ['math', '1000', INTEGER],
  ['math', '12 cm', CHOICE],
  ['math', '\\frac{x+1}{2}', {}],
  ['math', '\\{1,2\\}', {}],
  ['math', '\\frac{x+1}{2}', {}, { reward: 'mathruler' }],
  ['math', '(1,2]', {}, { reward: 'r1v' }],
  ['answer', 'red', {}],
  ['answer', '12.5', {}, { match: 'relaxed' }],
  ['answer', '["two","2"]', {}, { match: 'anls' }],
  ['anomaly', 'yes', {}],
  ['click', '[{"bbox_2d":[10,20,31,40]}]', {}],
  ['grounding', '[{"bbox_2d":[10,20,31,40],"point_2d":[20,30]}]', {}],
  ['box', '[{"bbox_2d":[10,20,31,40]}]', {}],
] as const;

/** Its scale takes the largest numbers beyond all. */
const FRAMES = [{ width: 4000, height: 3000, modelWidth: 400, modelHeight: 300 }];

const subjects = SUBJECTS.map(([name, solution, extra, parameters = {}]) => {
  const definition = taskDefinition(name);
  const task = definition.create(definition.parameters.parse(parameters), []);
  const truth = task.parseTruth(sample(solution, { extra, task: name }), FRAMES);
  return { name, task, truth };
});

test('every task is among them', () => {
  expect(new Set(subjects.map(({ name }) => name))).toEqual(new Set(taskNames()));
});

/** Everything that is computed of a response, at its name. */
function numbersOf({ task, truth }: (typeof subjects)[number], text: string): [string, number][] {
  const answer = { text, stop: 'eos' } as const;
  const evaluation = task.evaluate(answer, truth, FRAMES);
  task.recognise(text);
  const { boxes, points } = task.parse(text, FRAMES);
  return [
    ...Object.entries(task.terms(answer, truth, FRAMES)),
    ...Object.entries(evaluation).map(([name, value]): [string, number] => [name, Number(value)]),
    ...Object.entries(task.metrics([evaluation])),
    ...[...boxes, ...points].flat().map((value): [string, number] => ['place', value]),
  ];
}

const WRAPS: readonly (readonly [string, string])[] = [
  ['<think> a</think>\\boxed{', '}'],
  ['<answer>', '</answer>'],
  ['<answer>[{"point_2d":[', ']}]</answer>'],
  ['\\boxed{', ''],
  ['', ''],
];
/** Every way in which a task writes an answer, to be cut and filled. */
const FORMS = subjects.flatMap(({ task, truth }) => task.forms.map((form) => form.write(truth as never, FRAMES)));
const PIECES = [
  ...['\\boxed{', '<answer>', '</answer>', '<think>', '</think>', '[{"point_2d":[', ']}]', '"bbox_2d":'],
  ...[
    '\\frac',
    '\\sqrt',
    '\\left(',
    '\\right)',
    '\\text{',
    '\\pi',
    '\\pm',
    '\\infty',
    '\\begin{pmatrix}',
    '\\end{pmatrix}',
    '\\\\',
    '&',
  ],
  ...[
    '\\{',
    '\\}',
    '{',
    '}',
    '(',
    ')',
    '[',
    ']',
    '|',
    '^',
    '_',
    '!',
    '%',
    '\\%',
    '=',
    '<',
    '>',
    '\\le',
    ':',
    '/',
    '*',
    '+',
    '-',
    ',',
    '.',
    ';',
  ],
  ...[
    '0',
    '1',
    '9',
    '12',
    '1e308',
    '1e999',
    '1e-999',
    '1000000000000000000000',
    '0.1',
    '1,000',
    'inf',
    'nan',
    '-0',
    '1_0',
    '0x1',
    '\u0664',
    '\uFF11',
  ],
  ...[
    'x',
    'e',
    'i',
    'cm',
    ' and ',
    'yes',
    'no',
    'B',
    'sin',
    '\\sin',
    '\\log_',
    ' ',
    '\n',
    '$',
    '~',
    '\u200D',
    '\u0301',
    '\uD800',
    '\u{1F468}',
  ],
];

test(`${GENERATED} generated responses give finite numbers`, { timeout: 7_200_000 }, () => {
  const next = random(20261126);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const bad: unknown[] = [];
  for (let i = 0; i < GENERATED; i++) {
    const [before, after] = pick(WRAPS);
    const pieces = Array.from({ length: Math.floor(next() * 9) }, () => pick(PIECES)).join('');
    const form = pick(FORMS);
    const at = Math.floor(next() * (form.length + 1));
    const text = next() < 0.2 ? form.slice(0, at) + pieces + form.slice(at) : before + pieces + after;
    const subject = subjects[i % subjects.length]!;
    try {
      const wrong = numbersOf(subject, text).filter(([, value]) => !Number.isFinite(value));
      if (wrong.length > 0) bad.push([subject.name, text, wrong]);
    } catch (error) {
      bad.push([subject.name, text, String(error)]);
    }
  }
  expect(bad).toEqual([]);
  held({
    promise: 'Marks, metrics and places of any text that a model writes are finite numbers',
    test: 'packages/core/src/tasks/untrusted.test.ts',
    count: GENERATED,
    of: 'generated texts',
  });
});

const REPEATED = [
  ...[
    '1',
    '9',
    '1.',
    '.',
    ',',
    '1,',
    '1,000,',
    '%',
    '1%',
    '!',
    '-',
    '+',
    '1+',
    'x+',
    '(',
    '((1)',
    ')',
    '[',
    '{',
    '}',
    '{}',
    '\\{',
    '|',
  ],
  ...[
    '\\boxed{',
    '\\boxed{1}',
    '\\boxed{1',
    '{\\boxed{',
    '\\frac',
    '\\frac{1}',
    '\\frac{',
    '\\sqrt',
    '\\text{',
    '\\text{a}',
    '\\left(',
    '\\sqrt[',
    '\\sqrt[1]',
    '\\begin{pmatrix}',
    '\\begin{a}',
    '\\mathbf',
    '\\mbox{',
  ],
  ...[
    '^',
    '^{',
    '2^',
    '_{',
    '\\',
    '\\\\',
    '&',
    '$',
    ' ',
    '\n',
    ' \n',
    '1 ',
    'x ',
    'a',
    'sin',
    '\\sin ',
    'e',
    '1e',
    '1_',
    ' and ',
    '=',
    'x=',
    '<',
    '1<',
  ],
  ...[
    '<answer>',
    '</answer>',
    '<think>',
    '</think>',
    '<think>a</think>',
    '[{"point_2d":[1,2]},',
    '[',
    '"',
    '\u0301',
    '\u0316\u0301',
    '\u200D',
  ],
  ...[
    '\u0664',
    '\uFF11',
    '\u00BD',
    '\u00B2',
    '\u00B0',
    '\u3002',
    '\uD800',
    '\u{1F468}\u200D',
    '\u0130',
    '\u00DF',
    '\u1112',
    'a.',
    '. ',
    '\\pm1',
    "'",
  ],
];

describe.each(subjects.map((subject, i) => [`${subject.name} ${i}`, subject] as const))('%s', (_, subject) => {
  test('long responses take time in proportion to their length', () => {
    const slow: unknown[] = [];
    for (const piece of REPEATED) {
      for (const [before, after] of [
        ['', ''],
        ['\\boxed{', '}'],
        ['\\boxed{', 'x}'],
        ['<answer>', 'x</answer>'],
      ] as const) {
        const read = (size: number): void => {
          const numbers = numbersOf(subject, before + piece.repeat(Math.ceil(size / piece.length)) + after);
          expect(numbers.filter(([, value]) => !Number.isFinite(value))).toEqual([]);
        };
        const order = orderOf(read, LONG);
        if (order > SUPERLINEAR) slow.push([before + piece, order]);
      }
    }
    expect(slow).toEqual([]);
  });
});
