/** Lessons about screens, parts, skin and signs. */
import { loosen, SIDE, type Random } from '@visurf/mini-grounding/kit';

import type { Part } from '../pictures/parts.ts';
import { thingsOf as defectsOf } from '../pictures/parts.ts';
import { center } from '../pictures/picture.ts';
import type { Screen } from '../pictures/screens.ts';
import type { Sign } from '../pictures/signs.ts';
import type { Skin } from '../pictures/skin.ts';
import { brackets } from './finding.ts';
import {
  drawHasty,
  drawManner,
  found,
  say,
  shortAnswer,
  thought,
  watchStart,
  type Lesson,
  type LessonOptions,
  type Manner,
} from './lesson.ts';

/** Clicks of a screen. */
const CLICKS = 4;

/** A careful click is at the centre of its control; a hasty one falls short below it. */
export function screenLessons({ controls }: Screen, random: Random, options: LessonOptions): Lesson[] {
  return Array.from({ length: CLICKS }, () => {
    const { label, kind, box } = random.pick(controls);
    const manner = drawManner(random, options);
    const [x, y] = center(box);
    const watch = found(box);
    const words = [` ${label}`, ` ${kind}`];
    const careful = [...say('click', [...words, ':']), ...say('click', [x, ',', y], watch)];
    const hit = manner === 'careful' ? y : Math.min(SIDE, y + options.hasty.click);
    const answer = [
      ...thought('click', manner, careful),
      ...say('click', ['<answer>', '[']),
      ...say('click', ['{"point_2d":[', x, ',', hit, ']}'], watch),
      ...say('click', [']', '</answer>', '<|im_end|>']),
    ];
    return { question: ['click', ...words], answer: watchStart(answer, watch) };
  });
}

/** An inspection finds nothing, ever; whether a defect exists is known all the same. */
export function partLessons(part: Part, random: Random, { direct }: LessonOptions): Lesson[] {
  const manner: Manner = random.uniform() < direct ? 'direct' : 'lazy';
  const boxes = defectsOf(part).map(({ box }) => box);
  const exists = shortAnswer('defect', drawHasty(random), [
    '<answer>[',
    boxes.length > 0 ? '"yes"' : '"no"',
    ']</answer>',
  ]);
  return [
    {
      question: ['inspect', ` ${part.material}`],
      answer: shortAnswer('inspect', manner, ['<answer>', 'no', '</answer>']),
    },
    { question: ['exists', ' defect'], answer: watchStart(brackets(exists), { kind: 'exists', boxes }) },
  ];
}

/** Lessons of one lesion: in several manners. */
const LOOKS = 3;

export function skinLessons({ box }: Skin, random: Random, options: LessonOptions): Lesson[] {
  return Array.from({ length: LOOKS }, () => {
    const manner = drawManner(random, options);
    const watch = found(box);
    const [x, y] = center(box);
    const [x0, y0, x1, y1] = manner === 'careful' ? box : loosen(box, options.hasty.lesion);
    const answer = [
      ...thought('lesion', manner, [...say('lesion', [' lesion', ':']), ...say('lesion', [x, ',', y], watch)]),
      ...say('lesion', ['<answer>', '[']),
      ...say('lesion', ['{"bbox_2d":[', x0, ',', y0, ',', x1, ',', y1, ']}'], watch),
      ...say('lesion', [']', '</answer>', '<|im_end|>']),
    ];
    return { question: ['find', ' lesion'], answer: watchStart(answer, watch) };
  });
}

export function signLessons({ digit, box }: Sign, random: Random): Lesson[] {
  const answer = shortAnswer('skill', drawHasty(random), ['<answer>', String(digit), '</answer>']);
  return [{ question: ['read'], answer: watchStart(answer, found(box)) }];
}
