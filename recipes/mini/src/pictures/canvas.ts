/** A canvas of light to paint on, value by value. */
import { SIDE, type Corners, type Random } from '@visurf/mini-grounding/kit';

import type { Pixels } from './picture.ts';

export type Rgb = readonly [number, number, number];

const WHOLE: Corners = [0, 0, SIDE, SIDE];

export class Canvas {
  /** [SIDE * SIDE * 3], 0 to 255; paint may go beyond. */
  readonly light = new Float32Array(SIDE * SIDE * 3);

  /** Every pixel by its centre. */
  fill(color: (x: number, y: number) => Rgb): void {
    for (let y = 0, i = 0; y < SIDE; y++) {
      for (let x = 0; x < SIDE; x++, i += 3) this.light.set(color(x + 0.5, y + 0.5), i);
    }
  }

  /** Mixes a colour in where `cover` (0 to 1) of a pixel's centre says so; nothing outside of `within` is asked. */
  paint(color: Rgb, cover: (x: number, y: number) => number, within: Corners = WHOLE): void {
    const [x0, y0, x1, y1] = within;
    for (let y = y0; y < y1; y++) {
      for (let x = x0, i = 3 * (y * SIDE + x0); x < x1; x++, i += 3) {
        const share = cover(x + 0.5, y + 0.5);
        if (share <= 0) continue;
        for (let c = 0; c < 3; c++) {
          const old = this.light[i + c] ?? 0;
          this.light[i + c] = old + share * ((color[c] ?? 0) - old);
        }
      }
    }
  }

  /** A clamped array rounds and keeps to 0 .. 255. */
  pixels(random: Random, noise: number): Pixels {
    random.addNoise(this.light, noise);
    return new Uint8Array(Uint8ClampedArray.from(this.light).buffer);
  }
}

export const dimmed = ([r, g, b]: Rgb, factor: number): Rgb => [r * factor, g * factor, b * factor];

/** 1 well inside an edge at distance 0, 0 well outside, over a width of `soft` pixels; `depth` is positive inside. */
export const edge = (depth: number, soft = 1): number => Math.min(1, Math.max(0, depth / soft + 0.5));

/** Distance of a point from the segment between two others. */
export function segmentDistance(
  [x, y]: readonly [number, number],
  [ax, ay]: readonly [number, number],
  [bx, by]: readonly [number, number],
): number {
  const [dx, dy] = [bx - ax, by - ay];
  const t = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - ax - t * dx, y - ay - t * dy);
}
