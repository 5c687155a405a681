import { expect, test } from 'vitest';

import { subjectOf } from '../testing/plan.ts';

const decoderLayers = 3 * (64 * 64 + 64 + 2 * (32 * 64 + 32) + 64 * 64 + 3 * 112 * 64 + 2 * 64);
const blocks = 3 * (96 * 32 + 96 + 32 * 32 + 32 + 3 * (72 * 32) + 2 * 72 + 32 + 2 * 32);
const merger = 32 + 128 * 128 + 128 + 64 * 128 + 64;
const vision = 32 * 1176 + blocks + merger;

test('every parameter of the tiny model, by what it belongs to', () => {
  const { sizes } = subjectOf();
  expect(sizes).toMatchObject({ all: 243_824, trainable: 243_824, vision, tables: 2 * 352 * 64 });
  expect(sizes.all).toBe(2 * 352 * 64 + decoderLayers + 64 + vision);
  expect(sizes).toMatchObject({ file: 4 * 243_824, weights: 4 * 243_824, copied: 0 });
  expect(sizes.projections).toBe(
    3 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 112 * 64) + 3 * (96 * 32 + 32 * 32 + 3 * 72 * 32) + 128 * 128 + 64 * 128,
  );
});

test('a frozen tower; adapters; weights that stay in bfloat16', () => {
  expect(subjectOf({ config: { train: { freezeVision: true } } }).sizes.trainable).toBe(243_824 - vision);
  const lora = { rank: 4, targets: ['q_proj', 'v_proj'] };
  const adapted = subjectOf({ config: { train: { lora }, precision: 'bfloat16' }, item: 2 }).sizes;
  expect(adapted.trainable).toBe(3 * 4 * (64 + 64 + 64 + 32));
  expect(adapted.trainedProjections).toBe(adapted.trainable);
  // Norms of 64 and 32, and the patch embedding, are float32.
  const float = 7 * 64 + 6 * 32 + 32 + 32 * 1176;
  expect(adapted.weights).toBe(2 * (243_824 - float) + 4 * float);
  expect(adapted.copied).toBe(0);
  expect(subjectOf({ config: { precision: 'bfloat16' }, item: 2 }).sizes).toMatchObject({
    weights: 4 * 243_824,
    copied: subjectOf().sizes.projections,
  });
});

test('in four bits, half a byte and a 64th of a magnitude for every weight of the decoder’s linear layers', () => {
  const linear = 3 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 112 * 64);
  for (const [precision, item] of [
    ['float32', 4],
    ['bfloat16', 2],
  ] as const) {
    const of = (lora: object) => subjectOf({ config: { train: { lora }, precision }, item }).sizes;
    const [plain, packed] = [of({ rank: 4 }), of({ rank: 4, quantize: 'nf4' })];
    expect(plain).toMatchObject({ packable: linear, widest: 112 * 64 });
    expect(packed.weights).toBe(plain.weights - (item - 0.5625) * linear);
    expect(packed.trainable).toBe(plain.trainable);
  }
  // Copies for products are those of the tower alone.
  const copies = (lora: object) =>
    subjectOf({ config: { train: { lora }, precision: 'bfloat16' }, item: 4 }).sizes.copied;
  expect(copies({ rank: 4 }) - copies({ rank: 4, quantize: 'nf4' })).toBe(linear);
});
