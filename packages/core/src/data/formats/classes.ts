/** Detection sets as questions: for every class and every picture, whether it shows the class or not. */
import path from 'node:path';
import { MAX_OBJECTS } from '../../tasks/grounding/answer.ts';
import type { AnnotatedImage, AskedQuestion, LabelledBox } from './record.ts';

export const ASKS = ['find', 'count', 'exists'] as const;
/** Where is it, how many are there, is there one? */
export type Ask = (typeof ASKS)[number];

/** Classes named in a message. */
const LISTED = 12;

type Fields = Readonly<Record<string, unknown>>;

const TEMPLATES: Readonly<Record<Ask, (name: string, objects: readonly LabelledBox[]) => Fields>> = {
  find: (name, objects) => ({
    ...{ problem: name, solution: objects.map(({ numbers }) => ({ bbox_2d: numbers })) },
    ...(objects.length > 0 && objects.every(({ mask }) => mask) && { mask: objects.flatMap(({ mask }) => mask!) }),
  }),
  count: (name, boxes) => ({
    ...{ problem: `How many objects of the kind "${name}" are in the picture?`, solution: String(boxes.length) },
    task: 'answer',
  }),
  exists: (name, boxes) => ({
    ...{ problem: `Is there a "${name}" in the picture? Answer yes or no.`, solution: boxes.length > 0 ? 'yes' : 'no' },
    task: 'answer',
  }),
};

/**
 * Questions about pictures. A class that may be there without a box is not asked for where it has none, and not counted.
 * @param declared classes that the set names, with or without objects
 */
export function questionsAbout(
  images: readonly AnnotatedImage[],
  declared: Iterable<string>,
  asks: readonly Ask[],
  note: (message: string) => void,
): AskedQuestion[] {
  const classes = [
    ...new Set([
      ...declared,
      ...images.flatMap(({ objects, unsure }) => [...objects.map(({ label }) => label), ...unsure]),
    ]),
  ];
  const ids = new Map<string, number>();
  const counts = { absent: new Map<string, number>(), unsure: 0, many: 0 };
  const questions = images.flatMap((image) =>
    classes.flatMap((name) => {
      const boxes = image.objects.filter(({ label }) => label === name);
      const isUnsure = image.unsure.includes(name);
      if (boxes.length === 0 && isUnsure) counts.unsure += 1;
      else if (boxes.length === 0) counts.absent.set(name, (counts.absent.get(name) ?? 0) + 1);
      if (boxes.length > MAX_OBJECTS) counts.many += 1;
      return asks.flatMap((ask): AskedQuestion[] => {
        if (isUnsure && (boxes.length === 0 || ask === 'count')) return [];
        if (boxes.length > MAX_OBJECTS && ask === 'find') return [];
        const stem = path.basename(image.image, path.extname(image.image));
        const id = unique(`${stem}-${name}${ask === 'find' ? '' : `-${ask}`}`, ids);
        const fields = { id, ...TEMPLATES[ask](name, boxes), class: name };
        const { place, image: file } = image;
        return [{ kind: 'question', place, images: [file], fields, convention: {} }];
      });
    }),
  );
  if (counts.absent.size > 0) {
    const sum = [...counts.absent.values()].reduce((a, b) => a + b, 0);
    const list = [...counts.absent].slice(0, LISTED).map(([name, count]) => `${name} ${count}`);
    const rest = counts.absent.size > LISTED ? [`${counts.absent.size - LISTED} more classes`] : [];
    const absent = [...list, ...rest].join(', ');
    note(`${sum} of ${images.length * classes.length} times an image does not show a class ([]): ${absent}`);
  }
  if (counts.unsure > 0)
    note(`${counts.unsure} times a class is only crowd, difficult or without a box: not asked for`);
  if (counts.many > 0) note(`${counts.many} questions of more than ${MAX_OBJECTS} objects are left out`);
  return questions;
}

function unique(id: string, known: Map<string, number>): string {
  const count = (known.get(id) ?? 0) + 1;
  known.set(id, count);
  return count === 1 ? id : unique(`${id}.${count}`, known);
}
