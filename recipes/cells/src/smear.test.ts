import { Random, SIDE } from '@visurf/mini-grounding/kit';
import { expect, test } from 'vitest';

import { drawSmear } from './smear.ts';

const smears = Array.from({ length: 200 }, (_, i) => drawSmear(new Random(`smear/${i}`)));

test('the same key draws the same smear', () => {
  expect(drawSmear(new Random('smear/7'))).toEqual(smears[7]);
});

test('boxes lie in the picture, and half of the smears hold a platelet', () => {
  for (const { bodies, alike, pixels } of smears) {
    expect(pixels).toHaveLength(SIDE * SIDE * 3);
    for (const [x0, y0, x1, y1] of [...bodies.map(({ box }) => box), ...alike]) {
      expect(Math.min(x0, y0)).toBeGreaterThanOrEqual(0);
      expect(Math.max(x1, y1)).toBeLessThanOrEqual(SIDE);
      expect(Math.min(x1 - x0, y1 - y0)).toBeGreaterThan(5);
    }
  }
  const share = smears.filter(({ bodies }) => bodies.some(({ kind }) => kind === 'platelet')).length / smears.length;
  expect(share).toBeGreaterThan(0.4);
  expect(share).toBeLessThan(0.6);
});

test('a platelet is violet where its box is', () => {
  for (const { bodies, pixels } of smears) {
    const platelets = bodies.filter(({ kind }) => kind === 'platelet');
    for (const { center } of platelets) {
      const [x, y] = center;
      let most = -Infinity;
      for (let dy = -4; dy <= 4; dy++) {
        for (let dx = -4; dx <= 4; dx++) {
          const at = 3 * ((y + dy) * SIDE + x + dx);
          most = Math.max(most, (pixels[at + 2] ?? 0) - (pixels[at + 1] ?? 0));
        }
      }
      expect(most).toBeGreaterThan(15);
    }
  }
});
