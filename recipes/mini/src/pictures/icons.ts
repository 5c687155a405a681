/** Labels of controls: icons and short words, as paths in a box of 16 x 16. Drawn rather than typeset: no fonts are needed. */

/** Stroked paths. */
export const LABELS = {
  star: 'M8 1 L10 6 L15 6 L11 9.5 L12.5 15 L8 11.5 L3.5 15 L5 9.5 L1 6 L6 6 Z',
  heart: 'M8 14 L2 8 A3.6 3.6 0 0 1 8 4 A3.6 3.6 0 0 1 14 8 Z',
  home: 'M1 8 L8 2 L15 8 M3 7 L3 14 L13 14 L13 7',
  mail: 'M1 3 L15 3 L15 13 L1 13 Z M1 3 L8 9 L15 3',
  add: 'M8 1 L8 15 M1 8 L15 8',
  search: 'M6.5 1.5 A5 5 0 1 0 6.6 1.5 M10 10 L15 15',
  // Words of two capital letters.
  ok: 'M1 3 L6 3 L6 13 L1 13 Z M9 3 L9 13 M15 3 L9 8 L15 13',
  up: 'M1 3 L1 13 L6 13 L6 3 M9 13 L9 3 L15 3 L15 8 L9 8',
} as const;
export type Label = keyof typeof LABELS;
export const LABEL_NAMES = Object.keys(LABELS) as readonly Label[];
