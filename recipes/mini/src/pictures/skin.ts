/** Skin with one lesion: a blot of uneven outline, soft at its edge, among hairs. */
import { SIDE, type Corners, type Random } from '@visurf/mini-grounding/kit';

import { Canvas, dimmed, edge, segmentDistance, type Rgb } from './canvas.ts';
import { center, drawOf, type Pixels, type Split, type Thing } from './picture.ts';

export interface Skin {
  readonly tone: number;
  readonly at: readonly [number, number];
  readonly radius: number;
  /** Amplitude and phase of the second and the third harmonic of the outline. */
  readonly waves: readonly (readonly [number, number])[];
  readonly hairs: readonly (readonly [number, number, number, number])[];
  /** Hull of the pixels inside the outline. */
  readonly box: Corners;
}

const TONES: readonly Rgb[] = [
  [236, 200, 178],
  [222, 176, 146],
  [196, 146, 112],
  [160, 112, 84],
];
const NOISE = 6;
const SOFT = 5;

const composition = ({ tone, box }: Skin): string =>
  `skin/${tone} ${[...center(box), box[2] - box[0], box[3] - box[1]].map((value) => Math.floor(value / 6)).join(' ')}`;

export const drawSkin = (split: Split, random: Random): Skin => drawOf(split, random, draw, composition);

function draw(random: Random): Skin {
  const radius = random.integer(11, 28);
  const waves = [0.25, 0.15].map((most) => [most * random.uniform(), 2 * Math.PI * random.uniform()] as const);
  const margin = Math.ceil(radius * 1.4) + 1;
  const at = [random.integer(margin, SIDE - margin), random.integer(margin, SIDE - margin)] as const;
  const place = (): number => random.integer(0, SIDE);
  const hairs = Array.from({ length: random.integer(0, 4) }, () => [place(), place(), place(), place()] as const);
  const outline = { at, radius, waves };
  return { tone: random.integer(0, TONES.length - 1), ...outline, hairs, box: hull(outline) };
}

type Outline = Pick<Skin, 'at' | 'radius' | 'waves'>;

/** How far a point lies inside the outline, in pixels along the ray from its centre. */
function depth({ at, radius, waves }: Outline, x: number, y: number): number {
  const [dx, dy] = [x - at[0], y - at[1]];
  const angle = Math.atan2(dy, dx);
  const swing = waves.reduce((sum, [size, phase], i) => sum + size * Math.cos((i + 2) * angle + phase), 1);
  return radius * swing - Math.hypot(dx, dy);
}

function hull(outline: Outline): Corners {
  let [x0, y0, x1, y1] = [SIDE, SIDE, 0, 0];
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      if (depth(outline, x + 0.5, y + 0.5) <= 0) continue;
      [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x + 1), Math.max(y1, y + 1)];
    }
  }
  return [x0, y0, x1, y1];
}

export const thingsOf = ({ box }: Skin): Thing[] => [{ words: [' lesion'], box }];

export function render(skin: Skin, random: Random): Pixels {
  const canvas = new Canvas();
  const tone = TONES[skin.tone] ?? [0, 0, 0];
  const [phase, slope] = [2 * Math.PI * random.uniform(), 0.001 * random.normal()];
  canvas.fill((x, y) => dimmed(tone, 1 + 0.04 * Math.sin(x / 30 + phase) * Math.cos(y / 26) + slope * (x - y)));
  const dark = dimmed(tone, 0.35 + 0.2 * random.uniform());
  canvas.paint(dark, (x, y) => {
    const inside = depth(skin, x, y);
    return edge(inside, SOFT) * (0.75 + 0.25 * Math.min(1, inside / skin.radius));
  });
  for (const [ax, ay, bx, by] of skin.hairs)
    canvas.paint([50, 35, 28], (x, y) => 0.8 * edge(0.6 - segmentDistance([x, y], [ax, ay], [bx, by])));
  return canvas.pixels(random, NOISE);
}
