/** What patches and image tokens cover: targets of the auxiliary losses, as plain arrays. */
import { COLORS, SHAPES, SIDE, type Corners, type Scene } from '../scenes.ts';

export const PATCH = 14;
export const MERGE = 2;
const TOKEN = PATCH * MERGE;
/** Pixels of a cell that an object must cover to be what the cell shows. */
const LEAST_OVERLAP = 60;

interface Cell {
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

/** Image tokens row by row. */
export const TOKEN_CELLS: readonly Cell[] = cells(SIDE / TOKEN, TOKEN);

/** Patches as the model orders them at its input: merge units row by row, rows and columns within a unit. */
export const PATCH_CELLS: readonly Cell[] = TOKEN_CELLS.flatMap(({ x, y }) =>
  cells(MERGE, PATCH).map((cell) => ({ x: x + cell.x, y: y + cell.y, side: PATCH })),
);

function cells(count: number, side: number): Cell[] {
  return Array.from({ length: count * count }, (_, i) => ({
    x: (i % count) * side,
    y: Math.floor(i / count) * side,
    side,
  }));
}

/** Pixels that a box and a cell share. */
export function overlap([x0, y0, x1, y1]: Corners, { x, y, side }: Cell): number {
  const width = Math.min(x1, x + side) - Math.max(x0, x);
  const height = Math.min(y1, y + side) - Math.max(y0, y);
  return Math.max(0, width) * Math.max(0, height);
}

/** Pixels 0 to 112 as -1 to 1. */
export const scaled = (pixel: number): number => (2 * pixel) / SIDE - 1;

/** What the patches of one scene show, in the order of `PATCH_CELLS`. */
export interface PatchTargets {
  /** Indices of colour and shape; -1 where a patch shows no object. */
  readonly colors: number[];
  readonly shapes: number[];
  /** [patches * 8]: the object's box relative to the patch's centre in units of 20 px, then in the picture. */
  readonly boxes: number[];
  /** [patches * 2]: the patch's own centre in the picture. */
  readonly places: number[];
}

export function patchTargets(scene: Scene): PatchTargets {
  const targets: PatchTargets = { colors: [], shapes: [], boxes: [], places: [] };
  for (const cell of PATCH_CELLS) {
    const [centerX, centerY] = [cell.x + PATCH / 2, cell.y + PATCH / 2];
    const object = scene.findLast(({ box }) => overlap(box, cell) > LEAST_OVERLAP);
    targets.colors.push(object ? COLORS.indexOf(object.color) : -1);
    targets.shapes.push(object ? SHAPES.indexOf(object.shape) : -1);
    const [x0, y0, x1, y1] = object?.box ?? [0, 0, 0, 0];
    targets.boxes.push((x0 - centerX) / 20, (y0 - centerY) / 20, (x1 - centerX) / 20, (y1 - centerY) / 20);
    targets.boxes.push(scaled(x0), scaled(y0), scaled(x1), scaled(y1));
    targets.places.push(scaled(centerX), scaled(centerY));
  }
  return targets;
}

/** What the image tokens of one scene show. */
export interface TokenTargets {
  /** [tokens * (colours + shapes)]: 1 where the token shows an object of that colour or shape. */
  readonly words: number[];
  /** [tokens * 4]: the box of the object that covers most of the token, in the picture. */
  readonly boxes: number[];
  /** Whether there is one. */
  readonly covered: boolean[];
}

export function tokenTargets(scene: Scene): TokenTargets {
  const targets: TokenTargets = { words: [], boxes: [], covered: [] };
  for (const cell of TOKEN_CELLS) {
    const shown = scene.filter(({ box }) => overlap(box, cell) > LEAST_OVERLAP);
    for (const color of COLORS) targets.words.push(Number(shown.some((object) => object.color === color)));
    for (const shape of SHAPES) targets.words.push(Number(shown.some((object) => object.shape === shape)));
    const [main] = shown.toSorted((a, b) => overlap(b.box, cell) - overlap(a.box, cell));
    targets.boxes.push(...(main?.box ?? [0, 0, 0, 0]).map(scaled));
    targets.covered.push(main !== undefined);
  }
  return targets;
}

/** [tokens]: 1 where an image token shows the box. */
export const tokensOf = (box: Corners): number[] =>
  TOKEN_CELLS.map((cell) => Number(overlap(box, cell) > LEAST_OVERLAP));
