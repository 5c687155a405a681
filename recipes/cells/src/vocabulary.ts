/** What the base model speaks: words for questions about blood, the coordinates of a picture as one token each. */
import { SIDE, Vocabulary } from '@visurf/mini-grounding/kit';

/** What a smear shows; the names exclude each other. */
export const KINDS = ['platelet', 'red', 'white'] as const;
export type Kind = (typeof KINDS)[number];

/** The words that ask for a kind. */
export const wordsOf = (kind: Kind): string[] => (kind === 'platelet' ? [' platelet'] : [` ${kind}`, ' cell']);

export const VOCABULARY = new Vocabulary({
  words: [
    ...['find', 'exists', 'count', 'user', 'assistant', 'yes', 'no'],
    ...['look', 'the', 'a', 'all', 'of', 'in', 'is', 'are', 'there', 'where', 'how', 'many'].map((word) => ` ${word}`),
    ...[...KINDS, 'platelets', 'cell', 'cells', 'blood', 'nucleus', 'picture', 'photograph'].map((word) => ` ${word}`),
  ],
  tags: ['<think>', '</think>', '<answer>', '</answer>', '{"bbox_2d":[', '{"point_2d":[', ']}', '"yes"', '"no"'],
  numbers: Array.from({ length: SIDE + 1 }, (_, pixel) => pixel),
});
