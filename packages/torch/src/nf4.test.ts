/** Weights in 4 bits are those of bitsandbytes, to the bit (oracle/quantized.py). */
import { afterAll, describe, expect, test } from 'vitest';

import { allocated, functional, live, Nf4, noGrad, randn, resetPeakAllocated, SafetensorsFile, scope, tensor, type Tensor } from './index.ts'; // prettier-ignore

const saved = new SafetensorsFile(
  new URL('../../../oracle/fixtures/quantized/quantized.safetensors', import.meta.url).pathname,
);
afterAll(() => saved.close());

/** Of formulas that the script knows, too. */
const wave = (shape: readonly [number, number]): Tensor => {
  const values = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(0.37 * i + 2) / (1 + (i % 13)));
  return tensor(values, { shape });
};
const shapes = { even: [48, 64], rest: [24, 100], odd: [5, 13] } as const;

/** Disposed of when `body` returns. */
function withNf4<T>(weight: Tensor, body: (packed: Nf4) => T): T {
  const packed = new Nf4(weight);
  try {
    return body(packed);
  } finally {
    packed.dispose();
  }
}

describe.each(Object.entries(shapes))('%s', (name, shape) => {
  test('codes, magnitudes and what comes back are the same bits', () =>
    scope(() =>
      withNf4(wave(shape), (own) => {
        expect(own.packed.toArray()).toEqual(saved.get(`${name}.packed`).toArray());
        expect(own.magnitudes.toArray()).toEqual(saved.get(`${name}.absmax`).toArray());
        expect(own.weight('float32').toArray()).toEqual(saved.get(`${name}.weight`).toArray());
        expect(own.weight('float32').shape).toEqual(shape);
      }),
    ));

  test('likewise of weights in bfloat16', () =>
    scope(() =>
      withNf4(wave(shape).to('bfloat16'), (own) =>
        expect(own.weight('bfloat16').toArray()).toEqual(saved.get(`${name}.bfloat16`).toArray()),
      ),
    ));

  test('a product and its gradient are those of the weights that come back', () =>
    scope(() =>
      withNf4(wave(shape), (own) => {
        const [bias, gradient] = [randn([shape[0]]), randn([7, shape[0]])];
        const inputs = [0, 1].map(() =>
          tensor(wave([7, shape[1]]).toArray(), { shape: [7, shape[1]] }).requiresGrad_(),
        );
        const outputs = [
          own.linear(inputs[0]!, bias),
          functional.linear(inputs[1]!, own.weight('float32'), bias),
        ] as const;
        for (const each of outputs) each.backward(gradient);
        expect(outputs[0].toArray()).toEqual(outputs[1].toArray());
        expect(inputs[0]!.grad!.toArray()).toEqual(inputs[1]!.grad!.toArray());
      }),
    ));
});

test('a block of zeros is zeros', () =>
  scope(() =>
    withNf4(tensor(new Float32Array(130), { shape: [2, 65] }), (own) =>
      expect(own.weight('float32').toArray()).toEqual(Array(130).fill(0)),
    ),
  ));

test('a product keeps nothing of the weights for its gradient, and all is freed', () => {
  const before = live().handles;
  scope(() =>
    withNf4(
      noGrad(() => randn([1024, 1024])),
      (own) => {
        const x = randn([2, 1024]).requiresGrad_();
        const { bytes } = allocated();
        resetPeakAllocated();
        const y = own.linear(x, undefined);
        expect(allocated().bytes - bytes).toBeLessThan(100_000);
        // The weights themselves, for as long as they are multiplied with.
        expect(allocated().peak - bytes).toBeGreaterThan(4 * 1024 * 1024);
        y.backward(randn([2, 1024]));
        expect(x.grad).toBeDefined();
      },
    ),
  );
  expect(live().handles).toBe(before);
});

test('what does not fit is refused', () =>
  scope(() =>
    withNf4(wave([48, 64]), (own) => {
      expect(() => own.linear(randn([2, 63]), undefined)).toThrow('no weights of shape');
    }),
  ));
