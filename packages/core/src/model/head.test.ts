/** Log-probabilities in chunks. */
import { allocated, live, resetPeakAllocated, scope, tensor, Tensor } from '@visurf/torch';
import { expect, onTestFinished, test, vi } from 'vitest';

import { scoreTokens } from './head.ts';

const waves = (shape: readonly [number, number], frequency: number): Tensor =>
  tensor(
    Float64Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(frequency * (i + 1))),
    { shape, dtype: 'float64' },
  );

test.each([1, 3, 13, 100])(
  'chunks of %i rows: log-probabilities and both gradients are those of one product',
  (size) => {
    const [rows, width, vocabulary] = [13, 4, 30];
    const before = live();
    scope(() => {
      const hidden = waves([rows, width], 0.37);
      const weight = waves([vocabulary, width], 0.11).requiresGrad_();
      const targets = Array.from({ length: rows }, (_, i) => (7 * i) % vocabulary);
      const coefficients = Float64Array.from(targets, (_, i) => Math.cos(i));
      const scored = scoreTokens(hidden, weight, targets, 'float32', size * vocabulary);
      const gradient = scored.pullback(coefficients);

      const [x, w] = [hidden.detach().requiresGrad_(), weight.detach().requiresGrad_()];
      const index = tensor(targets, { dtype: 'int64' }).unsqueeze(1);
      const chosen = x.mm(w.t()).logSoftmax(-1).gather(1, index).squeeze(1);
      chosen.backward(tensor(coefficients, { dtype: 'float64' }));
      const distance = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().item();
      expect(distance(tensor(scored.logProbs, { dtype: 'float64' }), chosen.detach())).toBeLessThan(1e-12);
      expect(distance(gradient, x.grad!)).toBeLessThan(1e-12);
      expect(distance(weight.grad!, w.grad!)).toBeLessThan(1e-12);
      for (const each of [weight, w, x]) each.grad = undefined;
    });
    expect(live()).toEqual(before);
  },
);

test('the weight is cast once for scores and their pullback, which frees the copy', () => {
  const [rows, width, vocabulary] = [13, 4, 30];
  const cast = vi.spyOn(Tensor.prototype, 'to');
  onTestFinished(() => cast.mockRestore());
  scope(() => {
    const [hidden, weight] = [waves([rows, width], 0.37).to('float32'), waves([vocabulary, width], 0.11).to('float32')];
    const casts = (): number =>
      cast.mock.contexts.filter((each, i) => each === weight && cast.mock.calls[i]![0] === 'bfloat16').length;
    const targets = Array.from({ length: rows }, (_, i) => i);
    const scored = scoreTokens(hidden, weight, targets, 'bfloat16', 3 * vocabulary);
    const before = live();
    const first = scored.pullback(new Float64Array(rows).fill(1));
    expect(casts()).toBe(1);
    expect(live().bytes - before.bytes).toBe(4 * rows * width - 2 * vocabulary * width);
    // Asked for once more it gives the same.
    expect(scored.pullback(new Float64Array(rows).fill(1)).toArray()).toEqual(first.toArray());
    expect(casts()).toBe(2);
  });
});

test('[tokens, vocabulary] is never in memory, backward included', () => {
  const [rows, width, vocabulary, elements] = [2048, 4, 1 << 15, 1 << 20];
  scope(() => {
    const hidden = tensor(new Float32Array(rows * width).fill(0.1), { shape: [rows, width] });
    const weight = tensor(new Float32Array(vocabulary * width).fill(0.2), { shape: [vocabulary, width] });
    const before = allocated().bytes;
    resetPeakAllocated();
    const scored = scoreTokens(hidden, weight, Array<number>(rows).fill(7), 'float32', elements);
    scored.pullback(new Float64Array(rows).fill(1));
    expect(scored.logProbs.at(-1)).toBeCloseTo(-Math.log(vocabulary), 3);
    expect(allocated().peak - before).toBeLessThan((rows * vocabulary * 4) / 10);
  });
});
