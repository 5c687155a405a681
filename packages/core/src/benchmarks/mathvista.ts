/**
 * MathVista. Official: its own normalisation of the content of the last `\boxed{}`, which stands in for the extraction
 * that its authors leave to a language model, then equality of texts; without a box the extraction is empty, and a
 * question with choices is answered by the nearest of them, as published. visurf: the first letter of the box names a
 * choice, and values are compared as math-verify does.
 */
import path from 'node:path';
import { z } from 'zod';
import { sameAnswer } from '../tasks/math/algebra.ts';
import { boxedContent } from '../tasks/math/boxed.ts';
import { normaliseMathVista, type MathVistaQuestion } from '../tasks/math/mathvista.ts';
import { composed } from '../tasks/text.ts';
import { byGroup, percent, unparsable } from './benchmark.ts';
import type { Benchmark, Item, LoadOptions, Marks, Protocol } from './benchmark.ts';
import { checked, inside, readAnnotations, requirePlace } from './files.ts';

const entrySchema = z.looseObject({
  question: z.string(),
  choices: z.array(z.string()).nullish(),
  unit: z.string().nullish(),
  precision: z.number().nullish(),
  answer: z.string(),
  question_type: z.enum(['multi_choice', 'free_form']),
  answer_type: z.enum(['text', 'integer', 'float', 'list']),
  query: z.string().optional(),
  metadata: z.looseObject({
    ...{ language: z.string().nullish(), source: z.string().nullish(), category: z.string().nullish() },
    ...{ task: z.string().nullish(), context: z.string().nullish(), grade: z.string().nullish() },
    skills: z.array(z.string()).nullish(),
  }),
});
type Entry = z.output<typeof entrySchema>;
const schema = z.record(z.string(), entrySchema.extend({ image: z.string() }));
const rowSchema = entrySchema.extend({ pid: z.string() });

export interface MathVistaTruth extends MathVistaQuestion {
  readonly answer: string;
  /** Names of the groups that the question counts in, such as `task.figure question answering`. */
  readonly groups: readonly string[];
}

type MathVistaMarks = Marks & {
  readonly right: boolean;
  readonly groups: readonly string[];
  readonly extraction: string;
  readonly normalised: string | null;
};

const LETTER = 'A'.charCodeAt(0);

/** The question as its authors put it (`build_query.py`): a hint, the question, its unit, its choices. */
export function buildQuery(
  entry: Pick<Entry, 'question' | 'unit' | 'choices' | 'question_type' | 'answer_type' | 'precision'>,
): string {
  const { question, unit, choices } = entry;
  const lines = [`Hint: ${hintOf(entry)}`, `Question: ${question}${unit ? ` (Unit: ${unit})` : ''}`];
  const listed = (choices ?? []).map((choice, i) => `(${String.fromCharCode(LETTER + i)}) ${choice}`);
  return [...lines, ...(listed.length > 0 ? ['Choices:', ...listed] : [])].join('\n');
}

function hintOf({
  question_type: kind,
  answer_type: type,
  precision,
}: Pick<Entry, 'question_type' | 'answer_type' | 'precision'>): string {
  if (kind === 'multi_choice')
    return 'Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.';
  const requiring = (what: string, value: string, examples: string): string =>
    `Please answer the question requiring ${what} and provide the final ${value}, e.g., ${examples}, at the end.`;
  switch (type) {
    case 'integer':
    case 'text':
      return requiring('an integer answer', 'value', '1, 2, 3');
    case 'float':
      return precision === 1
        ? requiring('a floating-point number with one decimal place', 'value', '1.2, 1.3, 1.4')
        : requiring('a floating-point number with two decimal places', 'value', '1.23, 1.34, 1.45');
    case 'list':
      return requiring('a Python list as an answer', 'list', '[1, 2, 3], [1.2, 1.3, 1.4]');
  }
}

function groupsOf({ question_type: question, answer_type: answer, metadata }: Entry): string[] {
  const { language, source, category, task, context, grade, skills } = metadata;
  const named = { language, source, category, task, context, grade };
  return [
    ...[`questionType.${question}`, `answerType.${answer}`],
    ...Object.entries(named).flatMap(([key, value]) =>
      value === undefined || value === null ? [] : [`${key}.${value}`],
    ),
    ...(skills ?? []).map((skill) => `skills.${skill}`),
  ];
}

function load(folder: string, { split, protocol }: LoadOptions): Item<MathVistaTruth>[] {
  const source = { name: 'MathVista', download: `${split}.json of its repository (data/) and images.zip, unpacked` };
  const file = requirePlace(folder, [`data/${split}.json`, `${split}.json`], source);
  requirePlace(folder, ['images'], source);
  return Object.entries(readAnnotations(file, schema)).map(([id, entry]) => ({
    id,
    images: [inside(folder, entry.image.startsWith('images/') ? entry.image : path.join('images', entry.image), file)],
    ...questionOf(entry, protocol),
  }));
}

const questionOf = (entry: Entry, protocol: Protocol): Pick<Item<MathVistaTruth>, 'problem' | 'truth'> => ({
  problem: protocol === 'visurf' ? buildQuery(entry).toLowerCase() : (entry.query ?? buildQuery(entry)),
  truth: {
    questionType: entry.question_type,
    answerType: entry.answer_type,
    precision: entry.precision ?? 0,
    choices: entry.choices ?? [],
    answer: entry.answer,
    groups: groupsOf(entry),
  },
});

/** The choice that the first letter names, counted from `a`; as in Python, places below 0 count from the end. */
export function letterChoice(said: string, choices: readonly string[]): string {
  const place = said === '' ? NaN : said.charCodeAt(0) - (/^[A-Z]/.test(said) ? LETTER : 'a'.charCodeAt(0));
  return choices[place < 0 ? place + choices.length : place] ?? '';
}

/** The content of the last box as mathruler reads it: "None" where it is not closed, nothing where there is none. */
export function publishedBox(text: string): string {
  const start = text.lastIndexOf('\\boxed{');
  if (start < 0) return '';
  let open = 0;
  for (let i = start; i < text.length; i++) {
    if (text[i] === '{') open += 1;
    if (text[i] === '}') open -= 1;
    if (text[i] === '}' && open === 0) return text.slice(start + '\\boxed{'.length, i);
  }
  return 'None';
}

/** Whether the published code counts an extraction as right. */
function isRightAsPublished(said: string, { choices, answer }: MathVistaTruth): boolean {
  const chosen = choices.length > 0 ? letterChoice(said, choices) : said;
  return chosen !== '' && (chosen === answer || sameAnswer(chosen, answer));
}

export const mathvista: Benchmark<MathVistaTruth, MathVistaMarks> = {
  name: 'mathvista',
  splits: ['testmini'],
  task: () => 'math',
  load: (folder, options) => Promise.resolve().then(() => load(folder, options)),
  forms: [
    {
      columns: [
        ...['pid', 'question', 'choices', 'unit', 'precision', 'answer'],
        ...['question_type', 'answer_type', 'metadata', 'query'],
      ],
      picture: 'decoded_image',
      read(row, { protocol, where }) {
        const entry = checked(row, rowSchema, where);
        return [{ id: entry.pid, ...questionOf(entry, protocol) }];
      },
    },
  ],
  mark({ text }, truth, protocol) {
    const content = boxedContent(text);
    const [extraction, parsed, { groups }] = [composed(content ?? ''), content !== undefined, truth];
    if (protocol === 'visurf') {
      const said = composed(publishedBox(text));
      return { right: isRightAsPublished(said, truth), extraction: said, normalised: null, groups, parsed };
    }
    const normalised = normaliseMathVista(extraction, truth);
    const right = normalised !== null && composed(normalised.trim()) === composed(truth.answer.trim());
    return { right, extraction, normalised, groups, parsed };
  },
  summarise(marks, protocol) {
    const accuracy = (own: readonly MathVistaMarks[]): number | null => percent(own, ({ right }) => right);
    const split = marks.flatMap((mark) => mark.groups.map((group) => ({ group, ...mark })));
    return {
      metrics: {
        accuracy: accuracy(marks),
        'accuracy.strict': percent(marks, ({ right, parsed }) => right && parsed),
        unparsable: unparsable(marks),
        ...byGroup(
          split,
          ({ group }) => group,
          (own, key) => ({ [`accuracy.${key}`]: accuracy(own) }),
        ),
      },
      notes: [
        protocol === 'official'
          ? 'Extraction is the content of the last \\boxed{}, not a language model; as published a question with choices is never ' +
            'left open, so that an empty extraction may be right ("strict": it is wrong).'
          : 'Not the official protocol: values are equal as math-verify says, and choices are named by their first letter.',
      ],
    };
  },
};
