import { expect, test } from 'vitest';

import { hash, Random } from './random.ts';
import { COLORS, drawAbsent, drawScene, render, resembling, SHAPES, SIDE } from './scenes.ts';

test('a key gives the same numbers everywhere, another key others', () => {
  const draw = (key: string): number[] => {
    const random = new Random(key);
    return [random.bits(), random.bits(), random.bits()];
  };
  expect(draw('train/17')).toEqual(draw('train/17'));
  expect(draw('train/17')).not.toEqual(draw('train/18'));
  expect(hash('')).toBe(hash(''));
});

test('uniform, normal and pixel noise have their mean and variance', () => {
  const random = new Random('moments');
  const moments = (values: ArrayLike<number>): [number, number] => {
    const all = Array.from(values);
    const mean = all.reduce((a, b) => a + b, 0) / all.length;
    return [mean, all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / all.length];
  };
  const close = ([mean, variance]: [number, number], expected: [number, number]): void => {
    expect(mean).toBeCloseTo(expected[0], 1);
    expect(variance).toBeCloseTo(expected[1], 1);
  };
  const draws = (draw: () => number): number[] => Array.from({ length: 40_000 }, draw);
  close(moments(draws(() => random.uniform())), [0.5, 1 / 12]);
  close(moments(draws(() => random.normal())), [0, 1]);
  const noise = new Float32Array(40_000).fill(3);
  random.addNoise(noise, 1);
  close(moments(noise), [3, 1]);
});

test('noise takes one draw a value', () => {
  const [one, other] = [new Random('k'), new Random('k')];
  one.addNoise(new Float32Array(5), 1);
  for (let i = 0; i < 5; i++) other.bits();
  expect(one.bits()).toBe(other.bits());
});

test('objects lie inside the picture, apart from each other, each of its own kind', () => {
  for (let i = 0; i < 200; i++) {
    const scene = drawScene(new Random(`scene/${i}`));
    expect(scene.length).toBeGreaterThanOrEqual(3);
    expect(scene.length).toBeLessThanOrEqual(5);
    expect(new Set(scene.map(({ color, shape }) => `${color} ${shape}`)).size).toBe(scene.length);
    scene.forEach(({ box: [x0, y0, x1, y1] }, a) => {
      expect(Math.min(x0, y0)).toBeGreaterThanOrEqual(0);
      expect(Math.max(x1, y1)).toBeLessThanOrEqual(SIDE);
      for (const { box: other } of scene.slice(a + 1)) {
        const width = Math.min(x1, other[2]) - Math.max(x0, other[0]);
        const height = Math.min(y1, other[3]) - Math.max(y0, other[1]);
        expect(Math.min(width, height)).toBeLessThan(0);
      }
    });
  }
});

test('an absent expression matches nothing and resembles something', () => {
  for (let i = 0; i < 200; i++) {
    const random = new Random(`absent/${i}`);
    const scene = drawScene(random);
    const kind = drawAbsent(scene, random);
    expect(COLORS).toContain(kind.color);
    expect(SHAPES).toContain(kind.shape);
    expect(scene.some(({ color, shape }) => color === kind.color && shape === kind.shape)).toBe(false);
    expect(resembling(scene, kind).length).toBeGreaterThan(0);
  }
});

test('a rendered object has its colour at its centre', () => {
  const random = new Random('picture');
  const square = { color: 'green', shape: 'square', box: [40, 30, 64, 60], center: [52, 45] } as const;
  const pixels = render([square], random);
  expect(pixels.length).toBe(SIDE * SIDE * 3);
  const mean = (x0: number, y0: number, x1: number, y1: number, channel: number): number => {
    let sum = 0;
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) sum += pixels[(y * SIDE + x) * 3 + channel] ?? 0;
    return sum / ((x1 - x0) * (y1 - y0));
  };
  expect(mean(...square.box, 1)).toBeGreaterThan(165);
  expect(mean(...square.box, 0)).toBeLessThan(50);
  // Outside: dark, and redder on the right.
  expect(mean(0, 0, 20, 20, 1)).toBeLessThan(60);
  expect(mean(92, 0, 112, 20, 0) - mean(0, 0, 20, 20, 0)).toBeGreaterThan(30);
});
