/** Signs with one digit: what reading is tested on. */
import { SIDE, type Corners, type Random } from '@visurf/mini-grounding/kit';

import { Canvas, type Rgb } from './canvas.ts';
import { drawOf, type Pixels, type Split, type Thing } from './picture.ts';

export interface Sign {
  readonly digit: number;
  /** Pixels of the picture to one of the glyph. */
  readonly scale: number;
  readonly paper: Rgb;
  readonly ink: Rgb;
  readonly box: Corners;
}

/** Digits on 3 x 5 pixels. */
const GLYPHS = [
  '111101101101111',
  '010110010010111',
  '111001111100111',
  '111001111001111',
  '101101111001001',
  '111100111001111',
  '111100111101111',
  '111001010010010',
  '111101111101111',
  '111101111001111',
] as const;
const [WIDTH, HEIGHT] = [3, 5];
const NOISE = 8;
const PAPERS: readonly Rgb[] = [
  [235, 235, 230],
  [240, 215, 90],
  [170, 215, 240],
];
const INKS: readonly Rgb[] = [
  [20, 20, 25],
  [150, 20, 30],
  [20, 60, 140],
];

const composition = ({ digit, scale, box }: Sign): string =>
  `sign/${digit} ${scale} ${Math.floor(box[0] / 4)} ${Math.floor(box[1] / 4)}`;

export const drawSign = (split: Split, random: Random): Sign => drawOf(split, random, draw, composition);

function draw(random: Random): Sign {
  const scale = random.integer(10, 16);
  const [x, y] = [random.integer(4, SIDE - 4 - WIDTH * scale), random.integer(4, SIDE - 4 - HEIGHT * scale)];
  return {
    digit: random.integer(0, 9),
    scale,
    paper: random.pick(PAPERS),
    ink: random.pick(INKS),
    box: [x, y, x + WIDTH * scale, y + HEIGHT * scale],
  };
}

export const thingsOf = ({ digit, box }: Sign): Thing[] => [{ words: [String(digit)], box }];

export function render({ digit, scale, paper, ink, box: [x0, y0, x1, y1] }: Sign, random: Random): Pixels {
  const canvas = new Canvas();
  const isInk = (x: number, y: number): boolean =>
    x >= x0 &&
    x < x1 &&
    y >= y0 &&
    y < y1 &&
    GLYPHS[digit]?.[Math.floor((y - y0) / scale) * WIDTH + Math.floor((x - x0) / scale)] === '1';
  canvas.fill((x, y) => (isInk(x, y) ? ink : paper));
  return canvas.pixels(random, NOISE);
}
