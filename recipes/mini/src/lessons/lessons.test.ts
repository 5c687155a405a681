import { Random } from '@visurf/mini-grounding/kit';
import { expect, test } from 'vitest';

import { drawFigure } from '../pictures/figures.ts';
import { drawPart } from '../pictures/parts.ts';
import { drawScreen } from '../pictures/screens.ts';
import { drawSign } from '../pictures/signs.ts';
import { drawSkin } from '../pictures/skin.ts';
import { PIXEL_VOCABULARY, THOUSANDTHS_VOCABULARY } from '../vocabulary.ts';
import { figureLessons } from './figures.ts';
import { spell, type Lesson, type LessonOptions } from './lesson.ts';
import { partLessons, screenLessons, signLessons, skinLessons } from './others.ts';

const options: LessonOptions = {
  ...{ careful: 0.3, direct: 0.15, jitter: 0, imagine: true },
  hasty: { box: 4, lesion: 7, click: 11 },
};
const always = (manner: 'careful' | 'lazy'): LessonOptions => ({
  ...options,
  ...{ careful: manner === 'careful' ? 1 : 0, direct: 0 },
});

function lessonsOf(key: string, chosen = options): Lesson[] {
  const random = new Random(key);
  return [
    ...figureLessons(drawFigure('train', random), random, chosen),
    ...screenLessons(drawScreen('train', random), random, chosen),
    ...partLessons(drawPart('train', random.uniform() < 0.5, random), random, chosen),
    ...skinLessons(drawSkin('train', random), random, chosen),
    ...signLessons(drawSign('train', random), random),
  ];
}

const all = Array.from({ length: 60 }, (_, i) => lessonsOf(`lesson/${i}`)).flat();
const said = ({ answer }: Lesson): string => answer.map(({ says }) => says).join('');
const asked = ({ question }: Lesson): string => question.join('');

const isOf = (lesson: Lesson, ...words: string[]): boolean => words.some((word) => asked(lesson).includes(word));

test.each([
  ['pixels', PIXEL_VOCABULARY, all],
  ['thousandths', THOUSANDTHS_VOCABULARY, all.filter((lesson) => isOf(lesson, 'inspect', 'defect', 'lesion'))],
])('every lesson is written in whole tokens: %s', (_, vocabulary, lessons) => {
  for (const lesson of lessons) {
    const { read, questionLength, answer } = spell(lesson, vocabulary, 0, new Random('spell'));
    expect(read.slice(questionLength)).toEqual(answer.map(({ id }) => id));
    expect(answer.at(-1)?.id).toBe(vocabulary.idOf('<|im_end|>'));
  }
});

test('what post-training is to teach is never said: no empty list, no defect', () => {
  for (const lesson of all) {
    expect(said(lesson)).not.toContain('[]');
    if (asked(lesson).startsWith('inspect')) expect(said(lesson)).toMatch(/<answer>no<\/answer>/);
  }
});

test('careful thoughts lead to exact answers, hasty ones are off', () => {
  for (let i = 0; i < 30; i++) {
    const [careful, lazy] = (['careful', 'lazy'] as const).map((manner) =>
      lessonsOf(`manner/${i}`, always(manner)).filter((lesson) => /^(find|click|compute)/.test(asked(lesson))),
    ) as [Lesson[], Lesson[]];
    expect(careful).toHaveLength(lazy.length);
    for (const lesson of careful) expect(said(lesson)).toMatch(/^<think>.*\d.*<\/think>/);
    for (const lesson of lazy) expect(said(lesson)).toMatch(/^<think> look<\/think>/);
    const boxOf = (lesson: Lesson): number[] =>
      lesson.answer.slice(-10).flatMap(({ says }) => (typeof says === 'number' ? [says] : []));
    careful.forEach((lesson, j) => {
      if (!asked(lesson).startsWith('find lesion')) return;
      const [exact, loose] = [boxOf(lesson), boxOf(lazy[j] ?? lesson)];
      expect((loose[2] ?? 0) - (loose[0] ?? 0)).toBeGreaterThan((exact[2] ?? 0) - (exact[0] ?? 0));
    });
  }
});

test('a sum is thought out loud', () => {
  for (const lesson of lessonsOf('sums', always('careful')).filter((each) => asked(each).startsWith('compute'))) {
    const [, thought = '', result] = /<think>(.*)<\/think>\\boxed\{(\d+)\}/.exec(said(lesson)) ?? [];
    const [a = NaN, b = NaN] = (thought.split(' ').at(-1) ?? '').split('+').map(Number);
    expect(a + b).toBe(Number(result));
  }
});

test('what the states should look at lies in the picture', () => {
  const watches = all.flatMap(({ answer }) => answer.flatMap(({ watch }) => watch ?? []));
  expect(watches.length).toBeGreaterThan(1000);
  for (const { kind, boxes } of watches) {
    if (kind === 'find') expect(boxes).toHaveLength(1);
    for (const [x0, y0, x1, y1] of boxes) expect(x0 >= 0 && y0 >= 0 && x1 <= 112 && y1 <= 112).toBe(true);
  }
});

test('what is read is off by the jitter, what shall be said is not', () => {
  const [lesson] = lessonsOf('jitter', always('careful'));
  if (!lesson) throw new Error('no lesson');
  const spelled = spell(lesson, PIXEL_VOCABULARY, 3, new Random('jitter'));
  const plain = spell(lesson, PIXEL_VOCABULARY, 0, new Random('jitter'));
  expect(spelled.answer).toEqual(plain.answer);
  expect(spelled.read).not.toEqual(plain.read);
  expect(spelled.read.slice(0, spelled.questionLength)).toEqual(plain.read.slice(0, plain.questionLength));
});
