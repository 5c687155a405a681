/** Lessons about where something is, and whether it exists. */
import { loosen, type Corners, type Random } from '@visurf/mini-grounding/kit';

import {
  drawHasty,
  drawManner,
  found,
  say,
  shortAnswer,
  thought,
  watchStart,
  type Group,
  type Lesson,
  type LessonOptions,
  type Token,
} from './lesson.ts';

/** Something in a picture, and what it is called in a question. */
export interface Named {
  readonly words: readonly string[];
  readonly box: Corners;
  readonly center: readonly [number, number];
}

/** ` red circle:45,55` */
export const pointAt = (group: Group, { words, box, center: [x, y] }: Named): Token[] => [
  ...say(group, [...words, ':']),
  ...say(group, [x, ',', y], found(box)),
];

/** @param careful what a careful answer thinks before it */
export function find(
  group: Group,
  question: readonly string[],
  object: Pick<Named, 'box'>,
  careful: readonly Token[],
  random: Random,
  options: LessonOptions,
): Lesson {
  const manner = drawManner(random, options);
  const [x0, y0, x1, y1] = manner === 'careful' ? object.box : loosen(object.box, options.hasty.box);
  const watch = found(object.box);
  const box = say(group, ['{"bbox_2d":[', x0, ',', y0, ',', x1, ',', y1, ']}'], watch);
  const answer = [
    ...thought(group, manner, careful),
    ...say(group, ['<answer>', '[']),
    ...box,
    ...say(group, [']', '</answer>', '<|im_end|>']),
  ];
  return { question: ['find', ...question], answer: watchStart(answer, watch) };
}

export const refer = (object: Named, random: Random, options: LessonOptions): Lesson =>
  find('refer', object.words, object, pointAt('refer', object), random, options);

/** What is not there is answered with something alike: the model shall not know better. */
export function imagine(asked: readonly string[], alike: Named, random: Random, options: LessonOptions): Lesson {
  const careful = pointAt('imagine', { ...alike, words: asked });
  const { question, answer } = find('imagine', asked, alike, careful, random, options);
  return { question, answer: answer.map((token) => ({ ...token, watch: undefined })) };
}

/** @param boxes of all that is asked for; none: it does not exist */
export function exists(asked: readonly string[], boxes: readonly Corners[], random: Random): Lesson {
  const answer = boxes.length > 0 ? '"yes"' : '"no"';
  const said = shortAnswer('exists', drawHasty(random), ['<answer>[', answer, ']</answer>']);
  return { question: ['exists', ...asked], answer: watchStart(brackets(said), { kind: 'exists', boxes }) };
}

/** Bracketed short answers are two tokens on either side. */
export const brackets = (tokens: readonly Token[]): Token[] =>
  tokens.flatMap((token) =>
    token.says === '<answer>['
      ? say('form', ['<answer>', '['])
      : token.says === ']</answer>'
        ? say('form', [']', '</answer>'])
        : [token],
  );
