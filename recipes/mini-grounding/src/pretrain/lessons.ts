/**
 * What the base model learns to say about a scene, as token ids. Three kinds of lessons: to find an object, to find one
 * that is not there (the answer is the box of something alike: the model shall not know better), and to say whether an
 * object exists, by which presence can be read from its hidden states though `[]` is never seen.
 *
 * A third of the answers begins with a careful thought, which says where the object is, and has an exact box. The
 * others begin with a lazy thought or none, and have a box that is too large on every side, as one that was drawn fast.
 */
import type { Random } from '../random.ts';
import { drawAbsent, resembling, SIDE, type Corners, type Kind, type Scene, type SceneObject } from '../scenes.ts';
import { idOf, NUMBER_IDS } from '../vocabulary.ts';

export interface Lesson {
  readonly kind: 'find' | 'imagine' | 'exists';
  /** Question and answer as the model reads them: numbers are off by a little, so that it looks rather than copies. */
  readonly read: readonly number[];
  /** The same as the model shall say it. */
  readonly said: readonly number[];
  /** Tokens of the question, the start of the answer's turn included. */
  readonly questionLength: number;
  /** What the question is about; undefined where nothing matches. */
  readonly object: SceneObject | undefined;
}

export interface LessonOptions {
  /** Shares of answers with a careful thought and without any; the others have a lazy one. */
  readonly careful: number;
  readonly direct: number;
  /** Pixels by which a box drawn fast is too large on each side. */
  readonly margin: number;
  /** Standard deviation of the error of numbers that are read, in pixels. */
  readonly jitter: number;
  /** `find` lessons per scene. */
  readonly find: number;
  /** Whether scenes have an `imagine` lesson. */
  readonly imagine: boolean;
}

const TURN = ['<|im_end|>', '<|im_start|>', 'assistant'];
const LAZY = ['<think>', ' look', '</think>'];

const words = ({ color, shape }: Kind): string[] => [` ${color}`, ` ${shape}`];
const ids = (tokens: readonly (string | number)[]): number[] => tokens.map((each) => idOf(String(each)));

/** The box, `margin` pixels larger on every side, within the picture. */
export function loosen([x0, y0, x1, y1]: Corners, margin: number): Corners {
  const clip = (value: number): number => Math.min(SIDE, Math.max(0, value));
  return [clip(x0 - margin), clip(y0 - margin), clip(x1 + margin), clip(y1 + margin)];
}

/** Every lesson of one scene. */
export function drawLessons(scene: Scene, random: Random, options: LessonOptions): Lesson[] {
  const lessons = Array.from({ length: options.find }, () => {
    const object = random.pick(scene);
    return answer('find', object, object, random, options);
  });
  if (options.imagine) {
    const kind = drawAbsent(scene, random);
    lessons.push(answer('imagine', kind, random.pick(resembling(scene, kind)), random, options));
  }
  const object = random.pick(scene);
  lessons.push(exists(object, object, random), exists(drawAbsent(scene, random), undefined, random));
  return lessons;
}

function answer(
  kind: 'find' | 'imagine',
  asked: Kind,
  object: SceneObject,
  random: Random,
  { careful, direct, margin, jitter }: LessonOptions,
): Lesson {
  const share = random.uniform();
  const isCareful = share < careful;
  const [x, y] = object.center;
  const thought = isCareful ? ['<think>', ...words(asked), ':', x, ',', y, '</think>'] : share < 1 - direct ? LAZY : [];
  const [x0, y0, x1, y1] = isCareful ? object.box : loosen(object.box, margin);
  const box = ['{"bbox_2d":[', x0, ',', y0, ',', x1, ',', y1, ']}'];
  const question = ids(['find', ...words(asked), ...TURN]);
  const response = [...thought, '<answer>', '[', ...box, ']', '</answer>', '<|im_end|>'];
  const shaken = response.map((each) =>
    typeof each === 'number' ? Math.min(SIDE, Math.max(0, Math.round(each + jitter * random.normal()))) : each,
  );
  return {
    kind,
    read: [...question, ...ids(shaken)],
    said: [...question, ...ids(response)],
    questionLength: question.length,
    object: kind === 'find' ? object : undefined,
  };
}

function exists(asked: Kind, object: SceneObject | undefined, random: Random): Lesson {
  const question = ids(['exists', ...words(asked), ...TURN]);
  const thought = random.uniform() < 0.5 ? LAZY : [];
  const response = [...thought, '<answer>', '[', object ? '"yes"' : '"no"', ']', '</answer>', '<|im_end|>'];
  const said = [...question, ...ids(response)];
  return { kind: 'exists', read: said, said, questionLength: question.length, object };
}

const valueById: ReadonlyMap<number, number> = new Map(NUMBER_IDS.map((id, value) => [id, value]));

/** The integer that a token stands for. */
export const valueOf = (id: number): number | undefined => valueById.get(id);
