/** What patches and image tokens of a picture cover: targets of the auxiliary losses, as plain arrays. */
import { overlap, PATCH, PATCH_CELLS, scaled, TOKEN_CELLS, type Corners } from '@visurf/mini-grounding/kit';

import type { Thing } from '../pictures/picture.ts';

type Cell = (typeof TOKEN_CELLS)[number];

/** A cell shows a thing if it covers so many pixels of it, or such a share. */
const LEAST_PIXELS = 60;
const LEAST_SHARE = 0.4;

const areaOf = ([x0, y0, x1, y1]: Corners): number => (x1 - x0) * (y1 - y0);
const shows = (cell: Cell, { box }: Thing): boolean =>
  overlap(box, cell) > Math.min(LEAST_PIXELS, LEAST_SHARE * areaOf(box));

function holds({ x, y, side }: Cell, { box: [x0, y0, x1, y1] }: Thing): boolean {
  const [cx, cy] = [(x0 + x1) / 2, (y0 + y1) / 2];
  return cx >= x && cx < x + side && cy >= y && cy < y + side;
}

/** Words that exclude each other, such as all colours. */
export type Family = readonly string[];

const shownWords = (things: readonly Thing[], words: Family): number[] =>
  words.map((word) => Number(things.some((thing) => thing.words.includes(word))));

/** The thing that covers most of a cell. */
function mainOf(cell: Cell, things: readonly Thing[]): Thing | undefined {
  const shown = things.filter((thing) => shows(cell, thing));
  return shown.toSorted((a, b) => overlap(b.box, cell) - overlap(a.box, cell))[0];
}

export interface PatchTargets {
  /** Whether a patch shows anything; what follows is about the thing that covers most of it. */
  readonly covered: readonly boolean[];
  /** [families][patches]: index of its word in the family; -1 where it has none. */
  readonly classes: readonly (readonly number[])[];
  /** [patches * 4]: its box in the picture, and relative to the patch's centre in units of 20 px. */
  readonly boxes: readonly number[];
  readonly near: readonly number[];
  /** [patches * 2]: the patch's own centre in the picture. */
  readonly places: readonly number[];
}

export function patchTargets(pictures: readonly (readonly Thing[])[], families: readonly Family[]): PatchTargets {
  const mains = pictures.flatMap((things) => PATCH_CELLS.map((cell) => mainOf(cell, things)));
  const own = PATCH_CELLS.flatMap(({ x, y }) => [x, y].map((start) => scaled(start + PATCH / 2)));
  const places = pictures.flatMap(() => own);
  const boxes = mains.flatMap((main) => (main?.box ?? [0, 0, 0, 0]).map(scaled));
  return {
    covered: mains.map((main) => main !== undefined),
    classes: families.map((words) => mains.map((main) => words.findIndex((word) => main?.words.includes(word)))),
    boxes,
    near: boxes.map((corner, i) => {
      const center = places[2 * Math.floor(i / 4) + (i % 2)] ?? 0;
      return (corner - center) / (scaled(1) - scaled(0)) / 20;
    }),
    places,
  };
}

export interface TokenTargets {
  /** [tokens * words]: 1 where the token shows something of that name. */
  readonly words: readonly number[];
  /** [tokens * words]: 1 where the centre of something of that name lies in the token: what can be counted. */
  readonly centers: readonly number[];
  readonly covered: readonly boolean[];
  /** [tokens * 4]: box in the picture of the thing that covers most of the token. */
  readonly boxes: readonly number[];
}

export function tokenTargets(pictures: readonly (readonly Thing[])[], words: Family): TokenTargets {
  const cells = pictures.flatMap((things) => TOKEN_CELLS.map((cell) => ({ cell, things, main: mainOf(cell, things) })));
  const named = (chosen: (cell: Cell, thing: Thing) => boolean): number[] =>
    cells.flatMap(({ cell, things }) =>
      shownWords(
        things.filter((thing) => chosen(cell, thing)),
        words,
      ),
    );
  return {
    words: named(shows),
    centers: named(holds),
    covered: cells.map(({ main }) => main !== undefined),
    boxes: cells.flatMap(({ main }) => (main?.box ?? [0, 0, 0, 0]).map(scaled)),
  };
}

/** [tokens]: 1 where an image token shows one of the boxes. */
export const tokensShowing = (boxes: readonly Corners[]): number[] =>
  TOKEN_CELLS.map((cell) => Number(boxes.some((box) => shows(cell, { words: [], box }))));
