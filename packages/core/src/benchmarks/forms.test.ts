/** Benchmarks as parquet of the hub, in the columns that their cards list. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import sharp from 'sharp';
import { expect, onTestFinished, test } from 'vitest';
import type { Item } from './benchmark.ts';
import { loadMirror, mirrorFiles } from './mirror.ts';
import { PIXELS } from './predictions.ts';
import { benchmarkOf } from './registry.ts';

type SchemaElement = NonNullable<Parameters<typeof parquetWriteBuffer>[0]['schema']>[number];

const leaf = (name: string, type: SchemaElement['type'], text = false): SchemaElement => ({
  name,
  repetition_type: 'OPTIONAL',
  type: type!,
  ...(text && { converted_type: 'UTF8' }),
});
const text = (name: string) => [leaf(name, 'BYTE_ARRAY', true)];
const whole = (name: string) => [leaf(name, 'INT64')];
const list = (name: string, element: SchemaElement): SchemaElement[] => [
  { name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  element,
];
const texts = (name: string) => list(name, leaf('element', 'BYTE_ARRAY', true));
const struct = (name: string, ...fields: SchemaElement[][]): SchemaElement[] => [
  { name, repetition_type: 'OPTIONAL', num_children: fields.length },
  ...fields.flat(),
];
const image = (name: string) => struct(name, [leaf('bytes', 'BYTE_ARRAY')], text('path'));

const picture = new Uint8Array(
  await sharp({ create: { width: 20, height: 10, channels: 3, background: '#777' } })
    .png()
    .toBuffer(),
);
const shown = { bytes: picture, path: 'a.png' };

interface Form {
  readonly schema: SchemaElement[][];
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  readonly file: string;
}

const metadata = struct(
  'metadata',
  ...['category', 'context', 'grade', 'language', 'source', 'split', 'task'].map(text),
  texts('skills'),
);
const about = {
  ...{ category: 'math-targeted', context: 'x', grade: 'g', language: 'english', source: 's', split: 'testmini' },
  ...{ task: 'geometry', skills: ['algebraic reasoning'] },
};

const FORMS: Record<string, Form> = {
  mathvista: {
    file: 'testmini-00000-of-00001.parquet',
    schema: [
      ...[text('pid'), text('question'), text('image'), image('decoded_image'), texts('choices'), text('unit')],
      ...[
        [leaf('precision', 'DOUBLE')],
        text('answer'),
        text('question_type'),
        text('answer_type'),
        metadata,
        text('query'),
      ],
    ],
    rows: [
      {
        ...{ pid: '7', question: 'How long?', image: 'images/7.jpg', decoded_image: shown, choices: null, unit: 'cm' },
        ...{
          precision: 1,
          answer: '1.2',
          question_type: 'free_form',
          answer_type: 'float',
          metadata: about,
          query: 'Hint: q',
        },
      },
      {
        ...{
          pid: '8',
          question: 'Which?',
          image: 'images/8.jpg',
          decoded_image: shown,
          choices: ['red', 'blue'],
          unit: null,
        },
        ...{
          precision: null,
          answer: 'blue',
          question_type: 'multi_choice',
          answer_type: 'text',
          metadata: about,
          query: 'Hint: w',
        },
      },
    ],
  },
  chartqa: {
    file: 'test-00000-of-00001.parquet',
    schema: [image('image'), text('query'), texts('label'), whole('human_or_machine')],
    rows: [
      { image: shown, query: 'How many?', label: ['10'], human_or_machine: 0n },
      { image: shown, query: 'Which?', label: ['red'], human_or_machine: 1n },
    ],
  },
  'chartqa of lmms': {
    file: 'test-00000-of-00001.parquet',
    schema: [text('type'), text('question'), text('answer'), image('image')],
    rows: [
      { type: 'human_test', question: 'How many?', answer: '10', image: shown },
      { type: 'augmented_test', question: 'Which?', answer: 'red', image: shown },
    ],
  },
  docvqa: {
    file: 'validation-00000-of-00001.parquet',
    schema: [text('questionId'), text('question'), texts('question_types'), image('image'), texts('answers')],
    rows: [
      { questionId: '49153', question: 'What?', question_types: ['table'], image: shown, answers: ['red', 'reds'] },
    ],
  },
  pope: {
    file: 'test-00000-of-00001.parquet',
    schema: [text('question_id'), text('question'), text('answer'), text('category'), image('image')],
    rows: [
      { question_id: '1', question: 'Is there a dog?', answer: 'yes', category: 'random', image: shown },
      { question_id: '1', question: 'Is there a cat?', answer: 'no', category: 'popular', image: shown },
    ],
  },
  refcoco: {
    file: 'val-00000-of-00001.parquet',
    schema: [
      ...[text('question_id'), image('image'), text('question'), texts('answer')],
      ...[list('segmentation', leaf('element', 'FLOAT')), list('bbox', leaf('element', 'FLOAT')), whole('iscrowd')],
    ],
    rows: [
      {
        ...{ question_id: 'q', image: shown, question: 'Please', answer: ['the dog', 'left one'], iscrowd: 0n },
        ...{ segmentation: [2, 2, 8, 2, 8, 6, 2, 6], bbox: [2, 2, 6, 4] },
      },
    ],
  },
};

/** Of the last box, or the answer, of every question: by its rules all are right. */
const RIGHT: Record<string, string[]> = {
  mathvista: ['\\boxed{1.2}', '\\boxed{B}'],
  chartqa: ['<answer>10.4</answer>', '<answer>red</answer>'],
  'chartqa of lmms': ['<answer>10.4</answer>', '<answer>red</answer>'],
  docvqa: ['<answer>Reds</answer>'],
  pope: ['<answer>yes</answer>', '<answer>no</answer>'],
  refcoco: Array.from({ length: 2 }, () => '<answer>[{"bbox_2d": [2, 2, 8, 6]}]</answer>'),
};

async function load(title: string, split: string): Promise<Item[]> {
  const { schema, rows, file } = FORMS[title]!;
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-form-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const names = schema.map(([first]) => first!.name);
  const bytes = parquetWriteBuffer({
    columnData: names.map((name) => ({ name, data: rows.map((row) => row[name]) as string[] })),
    schema: [{ name: 'root', num_children: schema.length }, ...schema.flat()],
  });
  writeFileSync(path.join(folder, file), new Uint8Array(bytes));
  const files = mirrorFiles(folder, split);
  return await loadMirror(files, benchmarkOf(title.split(' ')[0]!), { split, protocol: 'official' }, '/pictures');
}

test.each([
  [
    'mathvista',
    'testmini',
    [
      ['7', 'Hint: q'],
      ['8', 'Hint: w'],
    ],
    { accuracy: 100, 'accuracy.task.geometry': 100, 'accuracy.skills.algebraic reasoning': 100 },
  ],
  [
    'chartqa',
    'test',
    [
      ['0', 'How many?'],
      ['1', 'Which?'],
    ],
    { accuracy: 100, 'accuracy.human': 100, 'accuracy.augmented': 100 },
  ],
  [
    'chartqa of lmms',
    'test',
    [
      ['0', 'How many?'],
      ['1', 'Which?'],
    ],
    { accuracy: 100, 'accuracy.human': 100, 'accuracy.augmented': 100 },
  ],
  ['docvqa', 'val', [['49153', 'What?']], { anls: 100 }],
  [
    'pope',
    'all',
    [
      ['random-1', 'Is there a dog?'],
      ['popular-1', 'Is there a cat?'],
    ],
    { accuracy: 100, 'yesRatio.random': 100 },
  ],
  [
    'refcoco',
    'val',
    [
      ['0-0', 'the dog'],
      ['0-1', 'left one'],
    ],
    { gIoU: 100, boxAccuracy: 100 },
  ],
] as const)('%s', async (title, split, asked, expected) => {
  const benchmark = benchmarkOf(title.split(' ')[0]!);
  const all = await load(title, split);
  expect(all.map(({ id, problem }) => [id, problem])).toEqual(asked);
  expect(new Uint8Array(await all[0]!.picture!())).toEqual(picture);
  const marks = await Array.fromAsync(all, async ({ truth }, i) => {
    const read = typeof truth === 'function' ? await (truth as () => Promise<unknown>)() : truth;
    return await benchmark.mark({ text: RIGHT[title]![i]!, frame: PIXELS }, read, 'official');
  });
  expect(benchmark.summarise(marks, 'official').metrics).toMatchObject(expected);
});

test('a split of POPE is its rows of that name; a row that is not as it should be is named', async () => {
  expect((await load('pope', 'popular')).map(({ id }) => id)).toEqual(['popular-1']);
  const { rows, ...rest } = FORMS['pope']!;
  FORMS['pope'] = { ...rest, rows: [{ ...rows[0]!, answer: 'perhaps' }] };
  await expect(load('pope', 'all')).rejects.toThrow(/test-00000-of-00001.parquet: row 1: answer:/);
});
