import { expect, test } from 'vitest';

import { Random } from '../random.ts';
import { drawScene, type Scene } from '../scenes.ts';
import { idOf } from '../vocabulary.ts';
import { drawLessons, loosen, valueOf, type Lesson, type LessonOptions } from './lessons.ts';

const scene: Scene = [
  { color: 'red', shape: 'circle', box: [30, 40, 60, 70], center: [45, 55] },
  { color: 'blue', shape: 'square', box: [80, 2, 110, 32], center: [95, 17] },
];
const options: LessonOptions = { careful: 0, direct: 0, margin: 4, jitter: 0, find: 2, imagine: false };

const draw = (changes: Partial<LessonOptions>, key = 'lesson'): Lesson[] =>
  drawLessons(scene, new Random(key), { ...options, ...changes });
const numbers = ({ said }: Lesson): number[] => said.flatMap((id) => valueOf(id) ?? []);
const has = ({ said }: Lesson, token: string): boolean => said.includes(idOf(token));

test('boxes drawn fast are too large on every side, but stay in the picture', () => {
  expect(loosen([30, 40, 60, 70], 4)).toEqual([26, 36, 64, 74]);
  expect(loosen([80, 2, 110, 32], 4)).toEqual([76, 0, 112, 36]);
});

test('a careful thought says where the object is and its box is exact; a lazy one does neither', () => {
  for (const lesson of draw({ careful: 1 }).filter(({ kind }) => kind === 'find'))
    expect(numbers(lesson)).toEqual([...(lesson.object?.center ?? []), ...(lesson.object?.box ?? [])]);
  for (const lesson of draw({}).filter(({ kind }) => kind === 'find')) {
    expect(numbers(lesson)).toEqual(loosen(lesson.object?.box ?? [0, 0, 0, 0], 4));
    expect(has(lesson, ' look')).toBe(true);
  }
  for (const lesson of draw({ direct: 1 }).filter(({ kind }) => kind === 'find'))
    expect(has(lesson, '<think>')).toBe(false);
});

test('no lesson ever says that the list is empty', () => {
  const [open, close] = [idOf('['), idOf(']')];
  for (let i = 0; i < 200; i++) {
    const random = new Random(`all/${i}`);
    const lessons = drawLessons(drawScene(random), random, { ...options, careful: 0.3, direct: 0.15, imagine: true });
    for (const { said } of lessons) said.forEach((id, t) => expect(id === open && said[t + 1] === close).toBe(false));
  }
});

test('whether something exists is asked of something that does and of something that does not', () => {
  const asked = draw({}).filter(({ kind }) => kind === 'exists');
  expect(asked.map((lesson) => [lesson.object !== undefined, has(lesson, '"yes"'), has(lesson, '"no"')])).toEqual([
    [true, true, false],
    [false, false, true],
  ]);
});

test('an imagined object is one of the scene that is alike', () => {
  for (let i = 0; i < 50; i++) {
    const [lesson] = draw({ imagine: true }, `imagine/${i}`).filter(({ kind }) => kind === 'imagine');
    expect(lesson?.object).toBeUndefined();
    expect([loosen([30, 40, 60, 70], 4), loosen([80, 2, 110, 32], 4)]).toContainEqual(lesson && numbers(lesson));
  }
});

test('what is read is off by the jitter, what shall be said is not', () => {
  const offs: number[] = [];
  for (let i = 0; i < 300; i++) {
    for (const { read, said, kind } of draw({ jitter: 2 }, `jitter/${i}`)) {
      expect(read).toHaveLength(said.length);
      if (kind === 'find')
        said.forEach((id, t) => {
          const [shall, reads] = [valueOf(id), valueOf(read[t] ?? -1)];
          if (shall !== undefined && shall > 10 && shall < 102) offs.push((reads ?? NaN) - shall);
        });
    }
  }
  const variance = offs.reduce((sum, off) => sum + off ** 2, 0) / offs.length;
  expect(Math.sqrt(variance)).toBeGreaterThan(1.8);
  expect(Math.sqrt(variance)).toBeLessThan(2.3);
});
