/** Figures of coloured shapes (those of the demo), and what can be asked about how many there are and where. */
import { drawScene, SHAPES, type Random, type Scene, type SceneObject } from '@visurf/mini-grounding/kit';

import { drawOf, type Split, type Thing } from './picture.ts';

export const DIRECTIONS = ['left', 'right', 'above', 'below'] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** The object that lies in a direction of another one. */
export interface Relation {
  readonly direction: Direction;
  readonly anchor: SceneObject;
  readonly target: SceneObject;
}

/** a * (number of `first`) + b * (number of `second`) */
export interface Sum {
  readonly factors: readonly [number, number];
  readonly shapes: readonly [SceneObject['shape'], SceneObject['shape']];
  readonly counts: readonly [number, number];
  readonly result: number;
}

/** How a direction is asked for. */
export const directionWords = (direction: Direction): string[] =>
  direction === 'left' || direction === 'right' ? [direction, 'of'] : [direction];

/** Pixels by which a direction must be clear. */
const CLEARANCE = 6;
const MOST_FACTOR = 5;

const composition = (scene: Scene): string =>
  scene
    .map(({ color, shape }) => `${color} ${shape}`)
    .sort()
    .join(', ');

/** A scene of the split in which at least one relation can be asked for. */
export const drawFigure = (split: Split, random: Random): Scene =>
  drawOf(split, random, drawRelated, (scene) => `figure/${composition(scene)}`);

function drawRelated(random: Random): Scene {
  for (;;) {
    const scene = drawScene(random);
    if (relations(scene).length > 0) return scene;
  }
}

/** How far an object lies in a direction, and how far aside of it, seen from another one. */
function offset(direction: Direction, { center: [ax, ay] }: SceneObject, { center: [x, y] }: SceneObject) {
  const [dx, dy] = [x - ax, y - ay];
  const along = { left: -dx, right: dx, above: -dy, below: dy }[direction];
  return { along, aside: Math.abs(direction === 'left' || direction === 'right' ? dy : dx) };
}

/**
 * All relations with one answer. An object lies in a direction if it is farther that way than aside; the answer does so
 * by `CLEARANCE`, every other object fails to by as much.
 */
export function relations(scene: Scene): Relation[] {
  return scene.flatMap((anchor) =>
    DIRECTIONS.flatMap((direction) => {
      const others = scene.filter((object) => object !== anchor);
      const leads = others.map((object) => {
        const { along, aside } = offset(direction, anchor, object);
        return along - aside;
      });
      const near = others.filter((_, i) => (leads[i] ?? 0) > -CLEARANCE);
      const [target] = near;
      const clear = target !== undefined && (leads[others.indexOf(target)] ?? 0) >= CLEARANCE;
      return near.length === 1 && clear ? [{ direction, anchor, target }] : [];
    }),
  );
}

export const countOf = (scene: Scene, shape: SceneObject['shape']): number =>
  scene.filter((object) => object.shape === shape).length;

/** Two shapes, of which at least the first occurs. */
export function drawSum(scene: Scene, random: Random): Sum {
  const first = random.pick(scene).shape;
  const second = random.pick(SHAPES.filter((shape) => shape !== first));
  const shapes = random.uniform() < 0.5 ? ([first, second] as const) : ([second, first] as const);
  const factors = [random.integer(1, MOST_FACTOR), random.integer(1, MOST_FACTOR)] as const;
  const counts = [countOf(scene, shapes[0]), countOf(scene, shapes[1])] as const;
  return { factors, shapes, counts, result: factors[0] * counts[0] + factors[1] * counts[1] };
}

export const thingsOf = (scene: Scene): Thing[] =>
  scene.map(({ color, shape, box }) => ({ words: [` ${color}`, ` ${shape}`], box }));
