import { Random, render as renderFigure, SIDE, type Scene, type SceneObject } from '@visurf/mini-grounding/kit';
import { describe, expect, test } from 'vitest';

import { drawFigure, drawSum, relations } from './figures.ts';
import * as parts from './parts.ts';
import { splitOf, type Thing } from './picture.ts';
import * as screens from './screens.ts';
import * as signs from './signs.ts';
import * as skins from './skin.ts';

const COUNT = 200;
const draws = <T>(name: string, draw: (random: Random) => T): T[] =>
  Array.from({ length: COUNT }, (_, i) => draw(new Random(`${name}/${i}`)));
const share = (flags: readonly boolean[]): number => flags.filter(Boolean).length / flags.length;
const isInside = ({ box: [x0, y0, x1, y1] }: Thing): boolean =>
  x0 >= 0 && y0 >= 0 && x1 <= SIDE && y1 <= SIDE && x0 < x1 && y0 < y1;

test('compositions are dealt 8 : 1 : 1, and always alike', () => {
  const splits = Array.from({ length: 2000 }, (_, i) => splitOf(`figure/${i}`));
  expect(share(splits.map((split) => split === 'train'))).toBeCloseTo(0.8, 1);
  expect(share(splits.map((split) => split === 'validation'))).toBeCloseTo(0.1, 1);
  expect(splitOf('figure/7')).toBe(splits[7]);
});

const object = (color: SceneObject['color'], shape: SceneObject['shape'], x: number, y: number): SceneObject => ({
  ...{ color, shape, center: [x, y] },
  box: [x - 10, y - 10, x + 10, y + 10],
});

describe('figures', () => {
  const anchor = object('red', 'circle', 50, 50);
  const asked = (scene: Scene): string[] =>
    relations(scene)
      .filter((relation) => relation.anchor === anchor)
      .map(({ direction, target }) => `${direction} ${target.color}`);

  test('a relation has one clear answer', () => {
    expect(asked([anchor, object('blue', 'square', 20, 45)])).toEqual(['left blue']);
    expect(asked([anchor, object('blue', 'square', 80, 45)])).toEqual(['right blue']);
    expect(asked([anchor, object('blue', 'square', 52, 15), object('green', 'square', 55, 90)])).toEqual([
      'above blue',
      'below green',
    ]);
    // Two to the left; one on the diagonal; one nearly on it.
    expect(asked([anchor, object('blue', 'square', 20, 45), object('green', 'square', 15, 70)])).toEqual([]);
    expect(asked([anchor, object('blue', 'square', 20, 20)])).toEqual([]);
    expect(asked([anchor, object('blue', 'square', 20, 24)])).toEqual([]);
  });

  test('something can be asked about every figure', () => {
    for (const scene of draws('figure', (random) => drawFigure('test', random))) {
      expect(relations(scene).length).toBeGreaterThan(0);
    }
  });

  test('a sum is that of the counts in the picture', () => {
    const scene = [anchor, object('blue', 'circle', 20, 20), object('green', 'square', 90, 90)];
    for (const { factors, shapes, counts, result } of draws('sum', (random) => drawSum(scene, random))) {
      const right = shapes.map((shape) => ({ circle: 2, square: 1, triangle: 0, diamond: 0 })[shape]);
      expect(counts).toEqual(right);
      expect(Math.max(...counts)).toBeGreaterThan(0);
      expect(result).toBe(factors[0] * counts[0] + factors[1] * counts[1]);
    }
  });
});

describe('screens', () => {
  const all = draws('screen', (random) => screens.drawScreen('train', random));

  test('a label and a kind name one control, and controls do not touch', () => {
    for (const screen of all) {
      const { controls } = screen;
      expect(new Set(controls.map(({ label, kind }) => `${label} ${kind}`)).size).toBe(controls.length);
      expect(screens.thingsOf(screen).every(isInside)).toBe(true);
      controls.forEach(({ box: a }, i) => {
        for (const { box: b } of controls.slice(i + 1))
          expect(a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1]).toBe(true);
      });
    }
  });

  test('a label alone does not always name one', () => {
    const ambiguous = all.map(({ controls }) => new Set(controls.map(({ label }) => label)).size < controls.length);
    expect(share(ambiguous)).toBeGreaterThan(0.3);
  });

  test('a button is drawn where it is said to be', async () => {
    const screen = all.find(({ controls }) => controls.some(({ kind }) => kind === 'button'));
    const button = screen?.controls.find(({ kind }) => kind === 'button');
    if (!screen || !button) throw new Error('no screen has a button');
    const pixels = await screens.render(screen);
    expect(pixels).toHaveLength(SIDE * SIDE * 3);
    const [x0, y0, , y1] = button.box;
    const at = (x: number, y: number): string => {
      const i = (y * SIDE + x) * 3;
      return `#${Buffer.from(pixels.subarray(i, i + 3)).toString('hex')}`;
    };
    expect(at(x0 + 2, Math.round((y0 + y1) / 2))).toBe(button.hue);
    expect(at(x0 - 1, Math.round((y0 + y1) / 2))).not.toBe(button.hue);
  });
});

describe('parts', () => {
  test('a defect is drawn in its box, and nothing is drawn without one', () => {
    for (let i = 0; i < 60; i++) {
      const part = parts.drawPart('train', true, new Random(`part/${i}`));
      const defect = part.defect;
      if (!defect) throw new Error('the part has no defect');
      expect(isInside({ words: [], box: defect.box })).toBe(true);
      const good = parts.render({ ...part, defect: undefined }, new Random('same'));
      const bad = parts.render(part, new Random('same'));
      let [inside, outside] = [0, 0];
      const [x0, y0, x1, y1] = defect.box;
      for (let p = 0; p < SIDE * SIDE; p++) {
        const [x, y] = [p % SIDE, Math.floor(p / SIDE)];
        const change = [0, 1, 2].reduce((sum, c) => sum + Math.abs((bad[3 * p + c] ?? 0) - (good[3 * p + c] ?? 0)), 0);
        // The noise of both pictures differs where a scratch has drawn a random number.
        if (change < 90) continue;
        if (x >= x0 - 1 && x <= x1 && y >= y0 - 1 && y <= y1) inside++;
        else outside++;
      }
      expect(inside).toBeGreaterThan(20);
      expect(outside).toBeLessThan(10);
    }
    expect(parts.drawPart('train', false, new Random('good')).defect).toBeUndefined();
  });

  test('a scratch is seen in pieces along its line', () => {
    const all = draws('scratch', (random) => parts.drawPart('train', true, random));
    const scratch = all.find(({ defect }) => defect?.kind === 'scratch');
    if (!scratch) throw new Error('there is no scratch');
    const things = parts.thingsOf(scratch);
    expect(things.length).toBeGreaterThan(2);
    expect(things.every(isInside)).toBe(true);
    expect(share(all.map(({ defect }) => defect?.kind === 'hole'))).toBeCloseTo(1 / 3, 1);
  });
});

test('a lesion is darker than the skin, and its box is its hull', () => {
  for (let i = 0; i < 40; i++) {
    const skin = skins.drawSkin('train', new Random(`skin/${i}`));
    const { box, at } = skin;
    expect(skins.thingsOf(skin).every(isInside)).toBe(true);
    const pixels = skins.render({ ...skin, hairs: [] }, new Random(`light/${i}`));
    const light = (x: number, y: number): number => pixels[3 * (y * SIDE + x)] ?? 0;
    const outside = [light(1, 1), light(SIDE - 2, 1), light(1, SIDE - 2), light(SIDE - 2, SIDE - 2)];
    expect(light(at[0], at[1])).toBeLessThan(Math.min(...outside) * 0.85);
    expect(box[2] - box[0]).toBeGreaterThan(skin.radius);
    expect(box[2] - box[0]).toBeLessThanOrEqual(2.8 * skin.radius + 2);
  }
});

test('every digit occurs on signs, and its glyph fills its box', () => {
  const all = draws('sign', (random) => signs.drawSign('train', random));
  expect(new Set(all.map(({ digit }) => digit)).size).toBe(10);
  for (const sign of all.slice(0, 30)) {
    expect(signs.thingsOf(sign).every(isInside)).toBe(true);
    const pixels = signs.render(sign, new Random('sign'));
    const [x0, y0, x1, y1] = sign.box;
    const isInk = (x: number, y: number): boolean => {
      const near = (color: readonly number[]): number =>
        color.reduce((sum, value, c) => sum + Math.abs(value - (pixels[3 * (y * SIDE + x) + c] ?? 0)), 0);
      return near(sign.ink) < near(sign.paper);
    };
    const row = (y: number): boolean => Array.from({ length: x1 - x0 }, (_, i) => x0 + i).some((x) => isInk(x, y));
    expect(row(y0 + 1)).toBe(true);
    expect(row(y1 - 2)).toBe(true);
    expect(row(y0 - 2)).toBe(false);
  }
});

test('the same key gives the same picture', async () => {
  const draw = async (key: string): Promise<Uint8Array[]> => {
    const random = new Random(key);
    return [
      renderFigure(drawFigure('train', random), random),
      await screens.render(screens.drawScreen('train', random)),
      parts.render(parts.drawPart('train', true, random), random),
      skins.render(skins.drawSkin('train', random), random),
      signs.render(signs.drawSign('train', random), random),
    ];
  };
  expect(await draw('a')).toEqual(await draw('a'));
  expect(await draw('b')).not.toEqual(await draw('a'));
});
