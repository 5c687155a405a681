/** What every kind of picture has: pixels, and the things that it shows. */
import { hash, type Corners, type Random } from '@visurf/mini-grounding/kit';

/** One thing in a picture, and the words that name it. */
export interface Thing {
  readonly words: readonly string[];
  /** In pixels; the last two corners are exclusive. */
  readonly box: Corners;
}

/** Pixels: SIDE x SIDE of red, green, blue, row by row. */
export type Pixels = Uint8Array;

export type Split = 'train' | 'validation' | 'test';

/** Compositions are dealt to the splits 8 : 1 : 1. */
export function splitOf(composition: string): Split {
  const share = hash(`composition/${composition}`) % 10;
  return share < 8 ? 'train' : share === 8 ? 'validation' : 'test';
}

/**
 * Draws until the composition (what a picture shows, without where and how exactly) is one of the split: no composition
 * occurs in two of them.
 */
export function drawOf<T>(split: Split, random: Random, draw: (random: Random) => T, compose: (drawn: T) => string): T {
  for (;;) {
    const drawn = draw(random);
    if (splitOf(compose(drawn)) === split) return drawn;
  }
}

export const center = ([x0, y0, x1, y1]: Corners): readonly [number, number] => [
  Math.floor((x0 + x1) / 2),
  Math.floor((y0 + y1) / 2),
];
