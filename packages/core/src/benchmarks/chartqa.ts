/** ChartQA: relaxed accuracy over questions by people and by programs. */
import { z } from 'zod';
import { spoken } from './answers.ts';
import { byGroup, percent, unparsable, type Benchmark, type Marks } from './benchmark.ts';
import { checked, inside, readAnnotations, requirePlace } from './files.ts';
import { relaxedAccuracy } from './texts.ts';

const schema = z.array(z.looseObject({ imgname: z.string(), query: z.string(), label: z.string() }));

/** HuggingFaceM4/ChartQA. */
const hubSchema = z.looseObject({
  query: z.string(),
  label: z.array(z.string()).min(1),
  human_or_machine: z.union([z.literal([0, 1]), z.enum(['human', 'machine'])]),
});
/** lmms-lab/ChartQA. */
const lmmsSchema = z.looseObject({ question: z.string(), answer: z.string(), type: z.string() });

interface ChartTruth {
  readonly answer: string;
  readonly type: string;
}

type ChartMarks = Marks & { readonly right: boolean; readonly type: string };

const TYPES = ['human', 'augmented'];

export const chartqa: Benchmark<ChartTruth, ChartMarks> = {
  name: 'chartqa',
  splits: ['test', 'val', 'train'],
  task: () => 'answer',
  load: (folder, { split }) =>
    Promise.resolve().then(() => {
      const source = { name: 'ChartQA', download: 'the folder "ChartQA Dataset" of its repository' };
      const images = requirePlace(folder, [`${split}/png`, `ChartQA Dataset/${split}/png`], source);
      return TYPES.flatMap((type) => {
        const name = `${split}/${split}_${type}.json`;
        const file = requirePlace(folder, [name, `ChartQA Dataset/${name}`], source);
        return readAnnotations(file, schema).map(({ imgname: picture, query, label }, i) => ({
          id: `${type}-${i}`,
          images: [inside(images, picture, file)],
          problem: query,
          truth: { answer: label, type },
        }));
      });
    }),
  forms: [
    {
      columns: ['query', 'label', 'human_or_machine'],
      picture: 'image',
      read(row, { number, where }) {
        const { query, label, human_or_machine: maker } = checked(row, hubSchema, where);
        const type = TYPES[typeof maker === 'string' ? Number(maker === 'machine') : maker]!;
        return [{ id: String(number), problem: query, truth: { answer: label[0]!, type } }];
      },
    },
    {
      columns: ['question', 'answer', 'type'],
      picture: 'image',
      read(row, { number, where }) {
        const { question, answer, type } = checked(row, lmmsSchema, where);
        const truth = { answer, type: type === 'human_test' ? 'human' : 'augmented' };
        return [{ id: String(number), problem: question, truth }];
      },
    },
  ],
  mark({ text }, { answer, type }) {
    const said = spoken(text);
    return { right: relaxedAccuracy(said, answer), type, parsed: said !== '' };
  },
  summarise(marks) {
    const accuracy = (own: readonly ChartMarks[]): number | null => percent(own, ({ right }) => right);
    return {
      metrics: {
        accuracy: accuracy(marks),
        ...byGroup(
          marks,
          ({ type }) => type,
          (own, key) => ({ [`accuracy.${key}`]: accuracy(own) }),
        ),
        unparsable: unparsable(marks),
      },
      notes: [
        'What is compared is the inside of <answer>, else of the last \\boxed{}, else the text after the thought, trimmed.',
      ],
    };
  },
};
