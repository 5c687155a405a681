/** POPE: is an object in the picture? Three files of questions; figures are the means over the files. */
import { z } from 'zod';
import { normalised } from '../tasks/text.ts';
import { spoken } from './answers.ts';
import { percent, unparsable, type Benchmark, type Item, type LoadOptions, type Marks } from './benchmark.ts';
import { checked, inside, parseJson, readText, requirePlace } from './files.ts';
import { popeVerdict } from './texts.ts';

const schema = z.looseObject({
  question_id: z.union([z.number(), z.string()]),
  image: z.string(),
  text: z.string(),
  label: z.enum(['yes', 'no']),
});

/** lmms-lab/POPE. */
const rowSchema = z.looseObject({
  question_id: z.union([z.number(), z.string()]),
  question: z.string(),
  answer: z.enum(['yes', 'no']),
  category: z.enum(['random', 'popular', 'adversarial']),
});

interface PopeTruth {
  readonly present: boolean;
  readonly file: string;
}

export interface PopeMarks extends Marks {
  readonly present: boolean;
  readonly saysYes: boolean;
  readonly file: string;
}

const FILES = ['random', 'popular', 'adversarial'];

function load(folder: string, { split }: LoadOptions): Item<PopeTruth>[] {
  const source = {
    name: 'POPE',
    download: "the three coco_pope_*.json of its repository (output/coco/) and COCO's val2014.zip, unpacked",
  };
  const images = requirePlace(folder, ['val2014', 'images/val2014'], source);
  return FILES.filter((name) => split === 'all' || split === name).flatMap((name) => {
    const places = ['', 'output/coco/', 'coco/'].map((below) => `${below}coco_pope_${name}.json`);
    const file = requirePlace(folder, places, source);
    const lines = readText(file).split('\n');
    return lines.flatMap((line, i): Item<PopeTruth>[] => {
      if (line.trim() === '') return [];
      const where = `${file}:${i + 1}`;
      const { question_id: id, image, text, label } = checked(parseJson(line, where), schema, where);
      const truth = { present: label === 'yes', file: name };
      return [{ id: `${name}-${id}`, images: [inside(images, image, where)], problem: text, truth }];
    });
  });
}

/** Percent, with yes as the positive answer; precision is 0 where nothing is positive. */
export function popeMetrics(marks: readonly Pick<PopeMarks, 'present' | 'saysYes'>[]): Record<string, number | null> {
  const right = marks.filter(({ present, saysYes }) => present && saysYes).length;
  const [said, present] = [marks.filter((mark) => mark.saysYes).length, marks.filter((mark) => mark.present).length];
  const share = (of: number): number => (of === 0 ? 0 : (100 * right) / of);
  const [precision, recall] = [share(said), share(present)];
  return {
    accuracy: percent(marks, (mark) => mark.present === mark.saysYes),
    ...{ precision, recall, f1: precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall) },
    yesRatio: percent(marks, (mark) => mark.saysYes),
  };
}

export const pope: Benchmark<PopeTruth, PopeMarks> = {
  name: 'pope',
  splits: ['all', ...FILES],
  task: () => 'answer',
  load: (folder, options) => Promise.resolve().then(() => load(folder, options)),
  forms: [
    {
      columns: ['question_id', 'question', 'answer', 'category'],
      picture: 'image',
      read(row, { split, where }) {
        const { question_id: id, question, answer, category: file } = checked(row, rowSchema, where);
        if (split !== 'all' && split !== file) return [];
        return [{ id: `${file}-${id}`, problem: question, truth: { present: answer === 'yes', file } }];
      },
    },
  ],
  mark({ text }, { present, file }) {
    const said = spoken(text);
    return { present, file, saysYes: popeVerdict(said) === 'yes', parsed: /^(yes|no)\b/.test(normalised(said)) };
  },
  summarise(marks) {
    const files = [...Map.groupBy(marks, ({ file }) => file)].map(([file, own]) => ({ file, own: popeMetrics(own) }));
    const names = Object.keys(files[0]?.own ?? {});
    const mean = (name: string): number | null => files.reduce((sum, { own }) => sum + own[name]!, 0) / files.length;
    return {
      metrics: {
        ...Object.fromEntries(names.map((name) => [name, mean(name)])),
        ...(files.length > 1 &&
          Object.fromEntries(files.flatMap(({ file, own }) => names.map((name) => [`${name}.${file}`, own[name]!])))),
        'accuracy.strict': percent(marks, ({ present, saysYes, parsed }) => parsed && present === saysYes),
        unparsable: unparsable(marks),
      },
      notes: [
        'Figures are means over the files. As published an answer that says neither is a yes; precision and F1 are 0 where nothing is ' +
          'positive. "strict" counts what begins with neither yes nor no as wrong.',
      ],
    };
  },
};
