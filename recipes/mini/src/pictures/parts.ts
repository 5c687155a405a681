/** Parts with a texture, half of them with a defect: pictures of an inspection. */
import { SIDE, type Corners, type Random } from '@visurf/mini-grounding/kit';

import { Canvas, dimmed, edge, segmentDistance, type Rgb } from './canvas.ts';
import { drawOf, type Pixels, type Split, type Thing } from './picture.ts';

export const MATERIALS = ['metal', 'wood', 'cloth'] as const;
export const DEFECTS = ['scratch', 'stain', 'hole'] as const;
type Point = readonly [number, number];

export interface Defect {
  readonly kind: (typeof DEFECTS)[number];
  readonly at: Point;
  /** Half of a scratch's length as a vector; of the others the radius is its length. */
  readonly reach: Point;
  readonly box: Corners;
}

export interface Part {
  readonly material: (typeof MATERIALS)[number];
  readonly tone: number;
  /** Corners of the part on its dark background. */
  readonly outline: Corners;
  readonly defect: Defect | undefined;
}

const TONES = 6;
const NOISE = 6;
const COLORS: Readonly<Record<Part['material'], Rgb>> = {
  metal: [150, 158, 168],
  wood: [170, 122, 78],
  cloth: [96, 122, 160],
};
/** Pixels between a defect and the edge of its part. */
const INSET = 4;

/** Words for the part, the defect and, coarsely, where it is. */
function composition({ material, tone, outline, defect }: Part): string {
  const place = defect ? `${defect.kind} ${defect.at.map((at) => Math.floor(at / 28)).join(' ')}` : 'good';
  return `part/${material} ${tone} ${outline.map((edge) => Math.floor(edge / 4)).join(' ')} ${place}`;
}

export const drawPart = (split: Split, defective: boolean, random: Random): Part =>
  drawOf(split, random, (each) => draw(defective, each), composition);

function draw(defective: boolean, random: Random): Part {
  const outline = [
    random.integer(4, 12),
    random.integer(4, 12),
    SIDE - random.integer(4, 12),
    SIDE - random.integer(4, 12),
  ] as const;
  const part = { material: random.pick(MATERIALS), tone: random.integer(0, TONES - 1), outline };
  return { ...part, defect: defective ? drawDefect(outline, random) : undefined };
}

function drawDefect([x0, y0, x1, y1]: Corners, random: Random): Defect {
  const kind = random.pick(DEFECTS);
  const angle = random.uniform() * Math.PI;
  const length =
    kind === 'scratch' ? random.integer(14, 24) : kind === 'stain' ? random.integer(8, 13) : random.integer(6, 9);
  const reach: Point = [length * Math.cos(angle), length * Math.sin(angle)];
  const half = kind === 'scratch' ? reach.map((value) => Math.ceil(Math.abs(value)) + 1) : [length, length];
  const [hx, hy] = half as [number, number];
  const at: Point = [
    random.integer(x0 + INSET + hx, x1 - INSET - hx),
    random.integer(y0 + INSET + hy, y1 - INSET - hy),
  ];
  return { kind, at, reach, box: [at[0] - hx, at[1] - hy, at[0] + hx, at[1] + hy] };
}

/** Pieces that a scratch is cut into: its box is mostly empty. */
const PIECES = 4;

/** A defect as what patches can see of it. */
export function thingsOf({ defect }: Part): Thing[] {
  if (!defect) return [];
  const words = [` ${defect.kind}`];
  if (defect.kind !== 'scratch') return [{ words, box: defect.box }];
  const [[x, y], [dx, dy]] = [defect.at, defect.reach];
  const [hx, hy] = [Math.abs(dx) / PIECES + 1, Math.abs(dy) / PIECES + 1];
  return Array.from({ length: PIECES }, (_, i): Thing => {
    const t = (2 * i + 1) / PIECES - 1;
    const [px, py] = [x + t * dx, y + t * dy];
    return { words, box: [px - hx, py - hy, px + hx, py + hy] };
  });
}

/** How bright the texture is at a point, around 1. */
function texture(material: Part['material'], random: Random): (x: number, y: number) => number {
  const phase = random.uniform() * 6.28;
  const bend = 4 + 6 * random.uniform();
  const pitch = 5 + 3 * random.uniform();
  switch (material) {
    case 'metal': {
      const rows = Array.from({ length: SIDE + 1 }, () => 0.08 * random.normal());
      return (_, y) => 1 + (rows[Math.floor(y)] ?? 0);
    }
    case 'wood':
      return (x, y) => 1 + 0.14 * Math.sin((x + bend * Math.sin(y / 24 + phase)) * (6.28 / pitch));
    case 'cloth':
      return (x, y) => 1 + 0.16 * Math.sin((x * 6.28) / pitch + phase) * Math.sin((y * 6.28) / pitch);
  }
}

export function render({ material, tone, outline, defect }: Part, random: Random): Pixels {
  const canvas = new Canvas();
  const brightness = texture(material, random);
  const color = dimmed(COLORS[material], 0.8 + (0.4 * tone) / (TONES - 1));
  const [x0, y0, x1, y1] = outline;
  canvas.fill((x, y) => (x > x0 && x < x1 && y > y0 && y < y1 ? dimmed(color, brightness(x, y)) : [22, 22, 26]));
  if (defect) paintDefect(canvas, defect, color, random);
  return canvas.pixels(random, NOISE);
}

function paintDefect(canvas: Canvas, { kind, at: [x, y], reach: [dx, dy] }: Defect, color: Rgb, random: Random): void {
  const radius = Math.hypot(dx, dy);
  const from = (px: number, py: number): number => Math.hypot(px - x, py - y);
  switch (kind) {
    case 'scratch': {
      const light = random.uniform() < 0.5 ? 1.7 : 0.35;
      canvas.paint(dimmed(color, light), (px, py) =>
        edge(1.4 - segmentDistance([px, py], [x - dx, y - dy], [x + dx, y + dy])),
      );
      return;
    }
    case 'stain':
      canvas.paint([70, 45, 30], (px, py) => 0.75 * edge(radius - 2 - from(px, py), 4));
      return;
    case 'hole':
      canvas.paint(dimmed(color, 1.5), (px, py) => edge(radius - from(px, py)));
      canvas.paint([8, 8, 10], (px, py) => edge(radius - 2 - from(px, py)));
  }
}
