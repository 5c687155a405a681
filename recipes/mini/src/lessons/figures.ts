/**
 * Lessons about figures. Careful answers say what they found and where, and are exact; hasty ones have boxes that are too
 * large, and sums out of the blue.
 */
import {
  drawAbsent,
  resembling,
  type Kind,
  type Random,
  type Scene,
  type SceneObject,
} from '@visurf/mini-grounding/kit';

import { countOf, directionWords, drawSum, relations } from '../pictures/figures.ts';
import { exists, find, imagine, pointAt, refer, type Named } from './finding.ts';
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
  type Token,
} from './lesson.ts';

const words = ({ color, shape }: Kind): string[] => [` ${color}`, ` ${shape}`];
const named = (object: SceneObject): Named => ({ ...object, words: words(object) });

/** Referring and relating lessons of a scene. */
const EACH = 2;

export function figureLessons(scene: Scene, random: Random, options: LessonOptions): Lesson[] {
  const twice = (draw: () => Lesson): Lesson[] => Array.from({ length: EACH }, draw);
  const absent = drawAbsent(scene, random);
  const imagined = random.pick(resembling(scene, absent));
  const shown = random.pick(scene);
  return [
    ...twice(() => {
      const object = random.pick(scene);
      return refer(named(object), random, options);
    }),
    ...twice(() => relate(scene, random, options)),
    ...(options.imagine ? [imagine(words(absent), named(imagined), random, options)] : []),
    ...(options.presence === false
      ? []
      : [exists(words(shown), [shown.box], random), exists(words(absent), [], random)]),
    ...(options.sums === false ? [] : [sum(scene, random, options)]),
    skill(scene, random),
  ];
}

function relate(scene: Scene, random: Random, options: LessonOptions): Lesson {
  const { direction, anchor, target } = random.pick(relations(scene));
  const careful = [...pointAt('relate', named(anchor)), ...pointAt('relate', named(target))];
  return find(
    'relate',
    [...directionWords(direction).map((word) => ` ${word}`), ...words(anchor)],
    target,
    careful,
    random,
    options,
  );
}

/** `<think> circle:2 square:1 4+3</think>\boxed{7}` */
function sum(scene: Scene, random: Random, options: LessonOptions): Lesson {
  const { factors, shapes, counts, result } = drawSum(scene, random);
  const [a, b] = [factors[0] * counts[0], factors[1] * counts[1]];
  const count = (i: 0 | 1): Token[] => [
    ...say('sum', [` ${shapes[i]}`, ':']),
    {
      says: String(counts[i]),
      group: 'sum',
      watch: { kind: 'exists', boxes: scene.filter(({ shape }) => shape === shapes[i]).map(({ box }) => box) },
    },
  ];
  const careful = [...count(0), ...count(1), ...say('sum', [' ', String(a), '+', String(b)])];
  const question = [
    'compute',
    ' ',
    String(factors[0]),
    ` ${shapes[0]}`,
    ' plus',
    ' ',
    String(factors[1]),
    ` ${shapes[1]}`,
  ];
  const manner = drawManner(random, options);
  return {
    question,
    answer: [...thought('sum', manner, careful), ...say('sum', ['\\boxed{', String(result), '}', '<|im_end|>'])],
  };
}

/** Skills that post-training never asks for: naming a colour or a shape, counting. */
function skill(scene: Scene, random: Random): Lesson {
  const once = (key: 'color' | 'shape'): SceneObject[] =>
    scene.filter((object) => scene.filter((other) => other[key] === object[key]).length === 1);
  const answer = (word: string): Token[] => shortAnswer('skill', drawHasty(random), ['<answer>', word, '</answer>']);
  const kind = random.pick(['color', 'shape', 'count'] as const);
  const ofShape = kind === 'color' ? once('shape') : kind === 'shape' ? once('color') : [];
  if (ofShape.length === 0) {
    const { shape } = random.pick(scene);
    return { question: ['count', ` ${shape}`], answer: answer(String(countOf(scene, shape))) };
  }
  const object = random.pick(ofShape);
  const [asked, said] = kind === 'color' ? [object.shape, object.color] : [object.color, object.shape];
  return {
    question: [kind, ' of', ` ${asked}`],
    answer: watchStart(answer(` ${said}`), found(object.box)),
  };
}
