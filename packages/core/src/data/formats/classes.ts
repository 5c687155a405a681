/** Detection sets as questions: for every class and every picture, whether it shows the class or not. */
import path from 'node:path';
import { MAX_OBJECTS } from '../../tasks/grounding/answer.ts';
import { nearest, UserError } from '../../errors.ts';
import { Numbers, Texts } from '../texts.ts';
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
 * Questions about pictures, in two passes: all are looked at for their classes, then each is asked about. A class that may be
 * there without a box is not asked for where it has none, and not counted.
 */
export class ClassQuestions {
  readonly #asks: readonly Ask[];
  readonly #declared: ReadonlySet<string>;
  readonly #seen = new Set<string>();
  readonly #ids = new Texts();
  /** How often an id was asked for, by its number. */
  readonly #uses = new Numbers();
  readonly #absent = new Map<string, number>();
  readonly #wanted: readonly string[] | undefined;
  #classes: readonly string[] = [];
  #images = 0;
  #unsure = 0;
  #many = 0;

  /**
   * @param declared classes that the set names, with or without objects
   * @param wanted those that are asked for, unless all are
   */
  constructor(declared: ReadonlySet<string>, asks: readonly Ask[], wanted?: readonly string[]) {
    [this.#declared, this.#asks, this.#wanted] = [declared, asks, wanted];
  }

  observe({ objects, unsure }: AnnotatedImage): void {
    for (const { label } of objects) this.#seen.add(label);
    for (const label of unsure) this.#seen.add(label);
  }

  about(image: AnnotatedImage): AskedQuestion[] {
    if (this.#images++ === 0) this.#classes = this.#chosen();
    return this.#classes.flatMap((name) => {
      const boxes = image.objects.filter(({ label }) => label === name);
      const isUnsure = image.unsure.includes(name);
      if (boxes.length === 0 && isUnsure) this.#unsure += 1;
      else if (boxes.length === 0) this.#absent.set(name, (this.#absent.get(name) ?? 0) + 1);
      if (boxes.length > MAX_OBJECTS) this.#many += 1;
      return this.#asks.flatMap((ask): AskedQuestion[] => {
        if (isUnsure && (boxes.length === 0 || ask === 'count')) return [];
        if (boxes.length > MAX_OBJECTS && ask === 'find') return [];
        const stem = path.basename(image.image, path.extname(image.image));
        const id = this.#unique(`${stem}-${name}${ask === 'find' ? '' : `-${ask}`}`);
        const fields = { id, ...TEMPLATES[ask](name, boxes), class: name };
        const { place, image: file } = image;
        return [{ kind: 'question', place, images: [file], fields, convention: {} }];
      });
    });
  }

  /** @throws UserError for a class that the set does not have */
  #chosen(): readonly string[] {
    const all = [...new Set([...this.#declared, ...this.#seen])];
    const unknown = this.#wanted?.find((name) => !all.includes(name));
    if (unknown === undefined) return this.#wanted ?? all;
    const likely = nearest(unknown, all);
    const list = [...all.slice(0, LISTED), ...(all.length > LISTED ? [`${all.length - LISTED} more`] : [])].join(', ');
    throw new UserError(`the set has no class ${unknown}`, {
      remedy: `${likely === undefined ? '' : `Did you mean ${likely}? `}It has: ${list}.`,
    });
  }

  /** Says what was asked. */
  finish(note: (message: string) => void): void {
    const [absent, unsure, many] = [this.#absent, this.#unsure, this.#many];
    if (absent.size > 0) {
      const sum = [...absent.values()].reduce((a, b) => a + b, 0);
      const list = [...absent].slice(0, LISTED).map(([name, count]) => `${name} ${count}`);
      const rest = absent.size > LISTED ? [`${absent.size - LISTED} more classes`] : [];
      const times = this.#images * this.#classes.length;
      note(`${sum} of ${times} times an image does not show a class ([]): ${[...list, ...rest].join(', ')}`);
    }
    if (unsure > 0) note(`${unsure} times a class is only crowd, difficult or without a box: not asked for`);
    if (many > 0) note(`${many} questions of more than ${MAX_OBJECTS} objects are left out`);
  }

  #unique(id: string): string {
    const known = this.#ids.size;
    const number = this.#ids.add(id);
    if (number === known) this.#uses.push(0);
    const count = (this.#uses.values[number]! += 1);
    return count === 1 ? id : this.#unique(`${id}.${count}`);
  }
}
