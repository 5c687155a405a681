/**
 * Drawn smears of blood, after photographs through a microscope: red cells (discs, paler in the middle), white cells
 * (large, with a dark nucleus of lobes), platelets (small violet blots), and what is none of them: bubbles, dust, and
 * parasites inside red cells. Tones are those of the photographs: means and deviations over 500 windows.
 */
import { SIDE, type Corners, type Random } from '@visurf/mini-grounding/kit';
import { Canvas, edge, type Pixels, type Rgb } from '@visurf/mini/kit';

import type { Kind } from './vocabulary.ts';

export interface Body {
  readonly kind: Kind;
  /** What of it lies in the picture. */
  readonly box: Corners;
  readonly center: readonly [number, number];
}

export interface Smear {
  readonly pixels: Pixels;
  readonly bodies: readonly Body[];
  /** Boxes of what a platelet could be taken for. */
  readonly alike: readonly Corners[];
}

/** Pixels around a platelet that people draw into its box. */
const MARGIN = 5;
/** Pixels of a body that must lie in the picture on either axis. */
const LEAST_SEEN = 12;
const NOISE = 2;
const PLACINGS = 40;

const around = (tone: Rgb, deviation: number, random: Random): Rgb => {
  const shared = deviation * random.normal();
  return tone.map((value) => value + shared + 0.4 * deviation * random.normal()) as unknown as Rgb;
};

/** A closed outline: an ellipse, turned, with waves. */
interface Outline {
  readonly x: number;
  readonly y: number;
  readonly radius: number;
  readonly stretch: number;
  readonly angle: number;
  readonly waves: readonly (readonly [number, number])[];
}

function drawOutline(x: number, y: number, radius: number, uneven: number, random: Random): Outline {
  const waves = [2, 3].map((order) => [(uneven * random.uniform()) / order, 2 * Math.PI * random.uniform()] as const);
  return { x, y, radius, stretch: 1 + 0.5 * uneven * random.uniform(), angle: Math.PI * random.uniform(), waves };
}

/** How far a point lies inside, in pixels. */
function depth({ x, y, radius, stretch, angle, waves }: Outline, px: number, py: number): number {
  const [dx, dy] = [px - x, py - y];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [u, v] = [(dx * cos + dy * sin) / stretch, (dy * cos - dx * sin) * stretch];
  const turn = Math.atan2(v, u);
  const swing = waves.reduce((sum, [size, phase], i) => sum + size * Math.cos((i + 2) * turn + phase), 1);
  return radius * swing - Math.hypot(u, v);
}

const clip = (value: number): number => Math.min(SIDE, Math.max(0, value));

/** Pixels outside of which no point lies `-beyond` pixels inside or deeper. */
function reach({ x, y, radius, stretch, waves }: Outline, beyond: number): Corners {
  const most = Math.max(stretch, 1 / stretch) * (radius * waves.reduce((sum, [size]) => sum + size, 1) + beyond);
  return [clip(Math.floor(x - most)), clip(Math.floor(y - most)), clip(Math.ceil(x + most)), clip(Math.ceil(y + most))];
}

function hull(outline: Outline, margin: number): Corners | undefined {
  let [x0, y0, x1, y1] = [SIDE, SIDE, 0, 0];
  const [left, top, right, bottom] = reach(outline, 0);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      if (depth(outline, x + 0.5, y + 0.5) <= 0) continue;
      [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x + 1), Math.max(y1, y + 1)];
    }
  }
  if (x1 - x0 < LEAST_SEEN || y1 - y0 < LEAST_SEEN) return undefined;
  return [clip(x0 - margin), clip(y0 - margin), clip(x1 + margin), clip(y1 + margin)];
}

class Slide {
  readonly bodies: Body[] = [];
  readonly alike: Corners[] = [];
  readonly #canvas = new Canvas();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
    const ground = around([202, 204, 198], 8, random);
    const [slopeX, slopeY] = [0.05 * random.normal(), 0.05 * random.normal()];
    this.#canvas.fill(
      (x, y) => ground.map((value) => value + slopeX * (x - SIDE / 2) + slopeY * (y - SIDE / 2)) as unknown as Rgb,
    );
  }

  /** @param cover by how far inside a pixel lies; none from `-beyond` on */
  #paint(tone: Rgb, outline: Outline, beyond: number, cover: (inside: number) => number): void {
    this.#canvas.paint(tone, (x, y) => cover(depth(outline, x, y)), reach(outline, beyond));
  }

  #add(kind: Kind, outline: Outline, margin = 0): void {
    const box = hull(outline, margin);
    if (!box) return;
    const center = [Math.floor((box[0] + box[2]) / 2), Math.floor((box[1] + box[3]) / 2)] as const;
    this.bodies.push({ kind, box, center });
  }

  red(): void {
    const random = this.#random;
    const place = (): number => random.integer(-20, SIDE + 20);
    const outline = drawOutline(place(), place(), random.integer(22, 40), 0.3 * random.uniform(), random);
    const tone = around([178, 149, 153], 9, random);
    const pallor = random.uniform() < 0.6 ? 0.3 + 0.6 * random.uniform() : 0.15 * random.uniform();
    const width = (0.25 + 0.3 * random.uniform()) * outline.radius;
    const soft = 2 + 3 * random.uniform();
    this.#paint(tone, outline, soft, (inside) => {
      const pale = pallor * edge(inside - (outline.radius - width), 0.6 * width);
      return 0.92 * edge(inside, soft) * (1 - pale);
    });
    this.#add('red', outline);
    if (random.uniform() < 0.15) this.#parasite(outline);
  }

  /** Violet, as platelets are, but inside a red cell: people do not call it one. */
  #parasite({ x, y, radius }: Outline): void {
    const random = this.#random;
    const [px, py] = [x, y].map((at) => at + (random.uniform() - 0.5) * radius) as [number, number];
    const dot = drawOutline(px, py, 3 + 3 * random.uniform(), 0.3, random);
    this.#paint(around([130, 95, 165], 12, random), dot, 3, (inside) => 0.8 * edge(inside, 3));
    this.#mistakable(px, py, 9);
  }

  white(): void {
    const random = this.#random;
    const radius = random.integer(40, 65);
    const place = (): number => random.integer(-20, SIDE + 20);
    const outline = drawOutline(place(), place(), radius, 0.2, random);
    this.#paint(around([186, 172, 200], 10, random), outline, 8, (inside) => 0.8 * edge(inside, 8));
    const dark = around([105, 72, 180], 14, random);
    for (let lobes = random.integer(1, 4); lobes > 0; lobes--) {
      const angle = 2 * Math.PI * random.uniform();
      const out = 0.4 * radius * random.uniform();
      const [x, y] = [outline.x + out * Math.cos(angle), outline.y + out * Math.sin(angle)];
      const lobe = drawOutline(x, y, radius * (0.3 + 0.25 * random.uniform()), 0.3, random);
      this.#paint(dark, lobe, 4, (inside) => 0.92 * edge(inside, 4));
    }
    this.#add('white', outline);
  }

  platelet(): void {
    const random = this.#random;
    const radius = 6 + 5 * random.uniform() ** 2;
    const [x, y] = this.#freePlace();
    const outline = drawOutline(x, y, radius, 0.4 * random.uniform(), random);
    const strength = 0.5 + 0.45 * random.uniform();
    const soft = 3 + 4 * random.uniform();
    const [dx, dy] = [random.normal(), random.normal()];
    const halo = soft + 2;
    this.#paint(around([168, 158, 204], 8, random), outline, halo, (inside) => 0.7 * strength * edge(inside + 1, halo));
    const core = drawOutline(x + dx, y + dy, radius * (0.5 + 0.3 * random.uniform()), 0.4, random);
    this.#paint(around([128, 100, 200], 14, random), core, soft, (inside) => strength * edge(inside, soft));
    this.#add('platelet', outline, MARGIN);
  }

  /** Mostly between the cells; not on another platelet. */
  #freePlace(): [number, number] {
    const random = this.#random;
    const place = (): number => random.integer(9, SIDE - 9);
    const onAny = random.uniform() < 0.1;
    for (let tries = 0; ; tries++) {
      const [x, y] = [place(), place()];
      const covered = this.bodies.some(
        ({ kind, box: [x0, y0, x1, y1] }) =>
          (kind === 'platelet' || !(onAny || tries > PLACINGS)) && x > x0 - 4 && x < x1 + 4 && y > y0 - 4 && y < y1 + 4,
      );
      if (!covered) return [x, y];
    }
  }

  /** A bubble: a small pale disc in a dark ring. */
  bubble(): void {
    const random = this.#random;
    const place = (): number => random.integer(4, SIDE - 4);
    const [x, y, radius] = [place(), place(), 2 + 3 * random.uniform()];
    const from = (u: number, v: number): number => Math.hypot(u - x, v - y);
    const within = reach({ x, y, radius, stretch: 1, angle: 0, waves: [] }, 3);
    this.#canvas.paint([150, 142, 140], (u, v) => 0.5 * edge(1 - Math.abs(from(u, v) - radius), 1.5), within);
    this.#canvas.paint([222, 222, 216], (u, v) => 0.6 * edge(radius - 1 - from(u, v), 1.5), within);
    this.#mistakable(x, y, 9);
  }

  dust(): void {
    const random = this.#random;
    const place = (): number => random.integer(4, SIDE - 4);
    const [x, y] = [place(), place()];
    const blot = drawOutline(x, y, 1.5 + 4 * random.uniform(), 0.5, random);
    const tone = around(random.uniform() < 0.5 ? [120, 118, 112] : [140, 120, 150], 10, random);
    const strength = 0.3 + 0.3 * random.uniform();
    this.#paint(tone, blot, 3, (inside) => strength * edge(inside, 3));
    this.#mistakable(x, y, 10);
  }

  #mistakable(x: number, y: number, half: number): void {
    const box = [x - half, y - half, x + half, y + half].map((value) => clip(Math.round(value))) as unknown as Corners;
    if (box[2] - box[0] > half && box[3] - box[1] > half) this.alike.push(box);
  }

  develop(): Pixels {
    return this.#canvas.pixels(this.#random, NOISE);
  }
}

/** Half of the smears hold a platelet, rarely two. */
export function drawSmear(random: Random): Smear {
  const slide = new Slide(random);
  const times = (count: number, paint: () => void): void =>
    Array.from({ length: count }, () => undefined).forEach(paint);
  if (random.uniform() < 0.25) slide.white();
  times(random.pick([0, 1, 1, 2, 2, 3, 4]), () => slide.red());
  times(random.pick([0, 0, 0, 1, 2]), () => slide.bubble());
  times(random.pick([0, 0, 1]), () => slide.dust());
  times(random.uniform() < 0.5 ? 0 : random.uniform() < 0.9 ? 1 : 2, () => slide.platelet());
  return { pixels: slide.develop(), bodies: slide.bodies, alike: slide.alike };
}
