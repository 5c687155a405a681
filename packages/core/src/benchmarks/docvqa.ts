/** DocVQA: ANLS over questions about documents. */
import { z } from 'zod';
import { spoken } from './answers.ts';
import { percent, unparsable, type Benchmark, type Marks } from './benchmark.ts';
import { checked, inside, readAnnotations, requirePlace } from './files.ts';
import { UserError } from '../errors.ts';
import { documentAnls } from './texts.ts';

const schema = z.looseObject({
  data: z.array(
    z.looseObject({
      questionId: z.union([z.number(), z.string()]),
      question: z.string(),
      image: z.string(),
      answers: z.array(z.string()).optional(),
    }),
  ),
});

/** lmms-lab/DocVQA; rows of the test split have no answers. */
const rowSchema = z.looseObject({
  questionId: z.union([z.number(), z.string()]),
  question: z.string(),
  answers: z.array(z.string()).min(1),
});

interface DocumentTruth {
  readonly answers: readonly string[];
}

type DocumentMarks = Marks & { readonly anls: number };

export const docvqa: Benchmark<DocumentTruth, DocumentMarks> = {
  name: 'docvqa',
  splits: ['val', 'train'],
  task: () => 'answer',
  load: (folder, { split }) =>
    Promise.resolve().then(() => {
      const source = {
        name: 'DocVQA',
        download: `${split}_v1.0.json and documents/ (task 1, from the challenge's page)`,
      };
      const places = [`${split}_v1.0.json`, `${split}/${split}_v1.0.json`, `${split}_v1.0_withQT.json`];
      const file = requirePlace(folder, places, source);
      const documents = requirePlace(folder, ['documents', `${split}/documents`, 'spdocvqa_images'], source);
      return readAnnotations(file, schema).data.map(({ questionId, question, image, answers }) => {
        if (!answers?.length) {
          throw new UserError(`question ${questionId} has no answers`, {
            where: file,
            remedy: 'Answers to the test split are not published: use --split val.',
          });
        }
        const picture = inside(documents, image.replace(/^documents\//, ''), file);
        return { id: String(questionId), images: [picture], problem: question, truth: { answers } };
      });
    }),
  forms: [
    {
      columns: ['questionId', 'question', 'answers'],
      picture: 'image',
      read(row, { where }) {
        const { questionId, question, answers } = checked(row, rowSchema, where);
        return [{ id: String(questionId), problem: question, truth: { answers } }];
      },
    },
  ],
  mark({ text }, { answers }) {
    const said = spoken(text);
    return { anls: documentAnls(said, answers), parsed: said !== '' };
  },
  summarise: (marks) => ({
    metrics: { anls: percent(marks, ({ anls }) => anls), unparsable: unparsable(marks) },
    notes: [
      'What is compared is the inside of <answer>, else of the last \\boxed{}, else the text after the thought, trimmed.',
    ],
  }),
};
