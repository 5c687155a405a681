/** ChartQA: relaxed accuracy over questions by people and by programs. */
import { z } from 'zod';
import { spoken } from './answers.ts';
import { byGroup, percent, unparsable, type Benchmark, type Marks } from './benchmark.ts';
import { inside, readAnnotations, requirePlace } from './files.ts';
import { relaxedAccuracy } from './texts.ts';

const schema = z.array(z.looseObject({ imgname: z.string(), query: z.string(), label: z.string() }));

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
