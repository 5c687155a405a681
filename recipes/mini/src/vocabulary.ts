/** What the miniatures of this recipe speak. */
import { COLORS, SHAPES, SIDE, Vocabulary } from '@visurf/mini-grounding/kit';

import { DIRECTIONS } from './pictures/figures.ts';
import { LABEL_NAMES } from './pictures/icons.ts';
import { DEFECTS, MATERIALS } from './pictures/parts.ts';
import { CONTROLS } from './pictures/screens.ts';

const VERBS = ['find', 'click', 'inspect', 'compute', 'exists', 'color', 'shape', 'count', 'read'];
const NAMES = [...COLORS, ...SHAPES, ...LABEL_NAMES, ...CONTROLS, ...MATERIALS, ...DEFECTS, 'defect', 'lesion'];

const spaced = (names: readonly string[]): string[] => names.map((name) => ` ${name}`);

/** Words that what a picture shows is named by; those of a family exclude each other. */
export const FAMILIES = {
  color: spaced(COLORS),
  shape: spaced(SHAPES),
  label: spaced(LABEL_NAMES),
  control: spaced(CONTROLS),
  defect: spaced(DEFECTS),
  lesion: [' lesion'],
  digit: Array.from({ length: 10 }, (_, digit) => String(digit)),
} as const satisfies Record<string, readonly string[]>;
export const SIGHT_WORDS: readonly string[] = Object.values(FAMILIES).flat();

const makeVocabulary = (numbers: readonly number[]): Vocabulary =>
  new Vocabulary({
    words: [
      ...VERBS,
      ...['user', 'assistant', 'yes', 'no'],
      ...['look', 'of', 'plus', ...DIRECTIONS, ...NAMES].map((word) => ` ${word}`),
    ],
    tags: [
      ...['<think>', '</think>', '<answer>', '</answer>'],
      ...['{"bbox_2d":[', '{"point_2d":[', ']}', '\\boxed{', '"yes"', '"no"'],
    ],
    numbers,
  });

const PIXELS = Array.from({ length: SIDE + 1 }, (_, pixel) => pixel);

/** Qwen2.5-VL speaks of pixels, the others of thousandths of the picture. */
export const PIXEL_VOCABULARY = makeVocabulary(PIXELS);
export const THOUSANDTHS_VOCABULARY = makeVocabulary(PIXELS.map((pixel) => Math.round((1000 * pixel) / SIDE)));
