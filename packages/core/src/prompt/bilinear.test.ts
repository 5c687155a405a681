import fc from 'fast-check';
import { expect, test } from 'vitest';
import { resizeBilinear, scaleMap } from './bilinear.ts';

const side = fc.integer({ min: 1, max: 40 });

test('a picture of one colour stays one, and its own size changes nothing', () => {
  fc.assert(
    fc.property(side, side, side, side, fc.integer({ min: 0, max: 255 }), (width, height, w, h, value) => {
      const data = new Uint8Array(width * height * 3).fill(value);
      const scaled = resizeBilinear({ data, width, height }, { width: w, height: h });
      expect([scaled.width, scaled.height, new Set(scaled.data)]).toEqual([w, h, new Set([value])]);
      expect(resizeBilinear({ data, width, height }, { width, height }).data).toEqual(data);
    }),
  );
});

// Expected: torch.nn.functional.interpolate(..., mode='bilinear', align_corners=False).
test('maps of numbers, as PyTorch scales them', () => {
  const map = { data: Float32Array.of(0, 1, 2, 3, 4, 5), width: 3, height: 2 };
  const up = [
    0, 0.25, 0.75, 1.25, 1.75, 2, 0.75, 1, 1.5, 2, 2.5, 2.75, 2.25, 2.5, 3, 3.5, 4, 4.25, 3, 3.25, 3.75, 4.25, 4.75, 5,
  ];
  expect([...scaleMap(map, { width: 6, height: 4 }).data]).toEqual(up);
  expect([...scaleMap(map, { width: 2, height: 1 }).data]).toEqual([1.75, 3.25]);
});
