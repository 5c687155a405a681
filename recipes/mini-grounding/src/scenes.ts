/**
 * Scenes of coloured shapes and referring expressions about them. Each pair of colour and shape occurs at most once in
 * a scene, so an expression names one object or none. Pure: the same generator state gives the same scene.
 */
import type { Random } from './random.ts';

/** x0, y0, x1, y1 in pixels; x1 and y1 are exclusive. */
export type Corners = readonly [number, number, number, number];

export const SIDE = 112;
export const COLORS = ['red', 'green', 'blue', 'yellow', 'magenta', 'cyan'] as const;
export const SHAPES = ['circle', 'square', 'triangle', 'diamond'] as const;
export type Color = (typeof COLORS)[number];
export type Shape = (typeof SHAPES)[number];

/** What a referring expression says. */
export interface Kind {
  readonly color: Color;
  readonly shape: Shape;
}

export interface SceneObject extends Kind {
  readonly box: Corners;
  readonly center: readonly [number, number];
}

/** Objects do not touch each other. */
export type Scene = readonly SceneObject[];

const RGB: Readonly<Record<Color, readonly [number, number, number]>> = {
  red: [230, 40, 40],
  green: [40, 200, 60],
  blue: [50, 80, 240],
  yellow: [235, 220, 40],
  magenta: [220, 50, 220],
  cyan: [40, 215, 225],
};
/** Half of an object's width and height. */
const [LEAST_RADIUS, MOST_RADIUS] = [10, 18];
/** How much the background grows redder to the right and bluer downwards: patches can see where they are. */
const GRADIENT = 50;
const NOISE = 8;
const PLACINGS = 200;

const same = (a: Kind, b: Kind): boolean => a.color === b.color && a.shape === b.shape;
const apart = (a: Corners, b: Corners): boolean => a[2] < b[0] || b[2] < a[0] || a[3] < b[1] || b[3] < a[1];

/** 3 to 5 objects, mostly 4. */
export function drawScene(random: Random): Scene {
  const count = random.pick([3, 4, 4, 5]);
  for (;;) {
    const objects: SceneObject[] = [];
    for (let i = 0; i < PLACINGS && objects.length < count; i++) {
      const object = drawObject(random);
      if (objects.every((other) => !same(object, other) && apart(object.box, other.box))) objects.push(object);
    }
    if (objects.length === count) return objects;
  }
}

function drawObject(random: Random): SceneObject {
  const [color, shape] = [random.pick(COLORS), random.pick(SHAPES)];
  const [rx, ry] = [random.integer(LEAST_RADIUS, MOST_RADIUS), random.integer(LEAST_RADIUS, MOST_RADIUS)];
  const [x, y] = [random.integer(rx + 1, SIDE - rx - 1), random.integer(ry + 1, SIDE - ry - 1)];
  return { color, shape, center: [x, y], box: [x - rx, y - ry, x + rx, y + ry] };
}

/** An expression for nothing in the scene that shares its colour or its shape with an object of it. */
export function drawAbsent(scene: Scene, random: Random): Kind {
  for (;;) {
    const { color, shape } = random.pick(scene);
    const kind = random.uniform() < 0.5 ? { color, shape: random.pick(SHAPES) } : { color: random.pick(COLORS), shape };
    if (!scene.some((object) => same(object, kind))) return kind;
  }
}

/** The objects that share colour or shape with an expression. */
export const resembling = (scene: Scene, { color, shape }: Kind): Scene =>
  scene.filter((object) => object.color === color || object.shape === shape);

/** Whether a shape covers a point of its box; u and v run from -1 to 1. */
function covers(shape: Shape, u: number, v: number): boolean {
  switch (shape) {
    case 'circle':
      return u * u + v * v <= 1;
    case 'square':
      return true;
    case 'triangle':
      return Math.abs(u) <= (v + 1) / 2;
    case 'diamond':
      return Math.abs(u) + Math.abs(v) <= 1;
  }
}

/** The picture: SIDE x SIDE pixels of red, green, blue, row by row. */
export function render(scene: Scene, random: Random): Uint8Array {
  const grey = random.integer(10, 50);
  const light = new Float32Array(SIDE * SIDE * 3);
  for (let y = 0, i = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++, i += 3) {
      light[i] = grey + (GRADIENT * (x + 0.5)) / SIDE;
      light[i + 1] = grey;
      light[i + 2] = grey + (GRADIENT * (y + 0.5)) / SIDE;
    }
  }
  for (const object of scene) paint(light, object, 0.85 + 0.2 * random.uniform());
  random.addNoise(light, NOISE);
  // A clamped array rounds and keeps to 0 .. 255.
  return new Uint8Array(Uint8ClampedArray.from(light).buffer);
}

function paint(light: Float32Array, { color, shape, box, center }: SceneObject, brightness: number): void {
  const [x0, y0, x1, y1] = box;
  const rgb = RGB[color].map((channel) => channel * brightness);
  for (let y = y0; y < y1; y++) {
    const v = (2 * (y + 0.5 - center[1])) / (y1 - y0);
    for (let x = x0; x < x1; x++) {
      const u = (2 * (x + 0.5 - center[0])) / (x1 - x0);
      if (covers(shape, u, v)) light.set(rgb, (y * SIDE + x) * 3);
    }
  }
}
