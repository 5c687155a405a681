import { expect, test } from 'vitest';
import fc from 'fast-check';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample } from '../tasks/grounding/testkit.ts';
import type { Box, Frame } from '../types.ts';
import { clipProcessor } from '../families/processor.ts';
import { frameFor, smartResize, survivingSize } from './resize.ts';

const resize = { patchSize: 14, mergeSize: 2, ...clipProcessor.image };
const task = grounding.create(grounding.parameters.parse({}), []);

const lostIn = (box: Box) => (frame: Frame) => task.lost?.({ objects: [{ box, point: undefined }] }, [frame]);

test('a box that vanishes survives at the size that is named', () => {
  const image = { width: 4000, height: 3000 };
  const box: Box = [100, 100, 101.5, 400];
  const coordinates = { resize, thousandths: false };
  expect(lostIn(box)(frameFor(image, coordinates))).toContain('which has no area');
  const advice = survivingSize(image, coordinates, (frame) => lostIn(box)(frame) === undefined)!;
  const [, width, height, maxPixels] = /as (\d+) x (\d+) in place of 1148 x 840 \(data.maxPixels: (\d+)\)/.exec(
    advice,
  )!;
  const size = smartResize(image, { ...resize, maxPixels: Number(maxPixels) });
  expect([size.width, size.height]).toEqual([Number(width), Number(height)]);
  expect(lostIn(box)(frameFor(image, { ...coordinates, resize: { ...resize, maxPixels: Number(maxPixels) } }))).toBe(
    undefined,
  );
});

test('a small image is scaled up; thousandths ask for a part of the image', () => {
  const fine: Box = [10.2, 10.2, 10.8, 20];
  const small = survivingSize(
    { width: 56, height: 56 },
    { resize, thousandths: false },
    (frame) => !lostIn(fine)(frame),
  );
  expect(small).toContain('data.minPixels');
  const thin: Box = [100, 100, 101, 400];
  const part = survivingSize({ width: 4000, height: 3000 }, { thousandths: true }, (frame) => !lostIn(thin)(frame));
  expect(part).toMatch(/in a part of the image of \d+ x \d+ pixels/);
});

test('what is not lost earns the full mark as it is written; what is lost does not, or has no area', () => {
  const side = fc.integer({ min: 28, max: 4000 });
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  const extent = fc.double({ min: 1e-3, max: 0.1, noNaN: true });
  let lost = 0;
  fc.assert(
    fc.property(side, side, share, share, extent, extent, fc.boolean(), (width, height, x, y, w, h, thousandths) => {
      const box: Box = [
        x * (1 - w) * width,
        y * (1 - h) * height,
        (x * (1 - w) + w) * width,
        (y * (1 - h) + h) * height,
      ];
      fc.pre(box[0] < box[2] && box[1] < box[3]);
      const frame = frameFor({ width, height }, thousandths ? { thousandths } : { resize, thousandths });
      const truth = task.parseTruth(sample([{ bbox_2d: box }]));
      const written = task.forms[0]!.write(truth, [frame]);
      const { accuracy } = task.terms({ text: written, stop: 'eos' }, truth, [frame]);
      const reason = task.lost?.(truth, [frame]);
      if (reason === undefined) expect(accuracy).toBe(3);
      else expect(accuracy! < 3 || reason.includes('no area')).toBe(true);
      lost += Number(reason !== undefined);
    }),
    { numRuns: 20_000, seed: 5 },
  );
  expect(lost).toBeGreaterThan(100);
});
