/** Numbers in 8 bits and 4 bits are those of bitsandbytes (oracle/quantized.py). */
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';

import { live, noGrad, optim, randn, SafetensorsFile, scope, tensor, type Tensor } from './index.ts';
import { codeBook, dequantize, dynamicMap, quantize } from './quantized.ts';

const folder = new URL('../../../oracle/fixtures/quantized/', import.meta.url);
const about = JSON.parse(readFileSync(new URL('about.json', folder), 'utf8')) as {
  readonly shape: [number, number];
  readonly steps: number;
  readonly lr: number;
  readonly betas: [number, number];
  readonly eps: number;
  readonly weight_decay: number;
};
const saved = new SafetensorsFile(new URL('quantized.safetensors', folder).pathname);
afterAll(() => saved.close());
const expected = (name: string): number[] => scope(() => saved.get(name).toArray());

const wave = (count: number, shift: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(0.37 * i + shift) / (1 + (i % 13)));
const distance = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((most, each, i) => Math.max(most, Math.abs(each - b[i]!)), 0);

test.each([
  ['signed', true],
  ['unsigned', false],
])('the %s map', (name, signed) => {
  expect(distance([...dynamicMap(signed)], expected(name))).toBeLessThan(1e-7);
});

test('what was quantised comes back within half a step of its map, and zeros as zeros', () =>
  scope(() => {
    const book = codeBook(dynamicMap(true), 'cpu');
    const x = tensor([...wave(1000, 1), ...Array<number>(300).fill(0)]);
    const back = dequantize(quantize(x, book), book).toArray();
    // The widest step of the map is 0.9 / 64 of the block's largest.
    expect(distance(back, x.toArray())).toBeLessThan(0.9 / 64);
    expect(back.slice(1024).every((each) => each === 0)).toBe(true);
  }));

const options = { learningRate: about.lr, betas: about.betas, eps: about.eps, weightDecay: about.weight_decay };
const count = about.shape[0] * about.shape[1];

function subject(): { named: Map<string, Tensor>; give: (step: number) => void } {
  const named = new Map([
    ['large', tensor(wave(count, 0), { shape: about.shape }).requiresGrad_()],
    ['small', tensor(wave(30, 0.5)).requiresGrad_()],
  ]);
  const give = (step: number): void => {
    named.get('large')!.grad = tensor(wave(count, step), { shape: about.shape });
    named.get('small')!.grad = tensor(wave(30, step));
  };
  return { named, give };
}

describe('AdamW8bit', () => {
  test('moves weights and keeps moments as the reference does', () =>
    scope(() => {
      const { named, give } = subject();
      const optimizer = new optim.AdamW8bit(named, options);
      for (let step = 1; step <= about.steps; step++) {
        give(step);
        optimizer.step();
      }
      expect(distance(named.get('large')!.toArray(), expected('parameter'))).toBeLessThan(2e-4);
      expect(distance(named.get('small')!.toArray(), expected('small'))).toBeLessThan(1e-6);
      const state = optimizer.state();
      for (const moment of ['exp_avg', 'exp_avg_sq']) {
        const codes = state.get(`${moment}.large`)!;
        expect(codes.dtype).toBe('uint8');
        expect(state.get(`${moment}.small`)!.dtype).toBe('float32');
        // Rounding may take a number across a border of the map.
        const theirs = expected(moment);
        const others = codes.toArray().filter((code, i) => code !== theirs[i]);
        expect(others.length / theirs.length).toBeLessThan(0.002);
        expect(distance(codes.toArray(), theirs)).toBeLessThanOrEqual(1);
        const magnitudes = state.get(`${moment}_absmax.large`)!.toArray();
        expect(distance(magnitudes, expected(`${moment}_absmax`))).toBeLessThan(1e-6);
      }
      optimizer.dispose();
    }));

  test('goes on from its state to the same bits, and frees what it made', () => {
    const before = live().handles;
    scope(() => {
      const [whole, stopped, resumed] = [subject(), subject(), subject()];
      const run = ({ named, give }: ReturnType<typeof subject>, steps: readonly number[], from?: optim.Optimizer) => {
        const optimizer = new optim.AdamW8bit(named, options);
        if (from) optimizer.loadState(from.state());
        for (const step of steps) {
          give(step);
          optimizer.step();
        }
        return optimizer;
      };
      const [first, second] = [run(whole, [1, 2, 3, 4]), run(stopped, [1, 2])];
      noGrad(() => {
        for (const [name, each] of stopped.named) resumed.named.get(name)!.copy_(each);
      });
      const third = run(resumed, [3, 4], second);
      for (const [name, each] of whole.named) expect(resumed.named.get(name)!.toArray()).toEqual(each.toArray());
      for (const [name, each] of first.state()) expect(third.state().get(name)!.toArray()).toEqual(each.toArray());
      const plain = new optim.AdamW(subject().named, options);
      expect(() => plain.loadState(first.state())).toThrow('exp_avg.large of the optimiser is float32, not uint8');
      for (const each of [first, second, third, plain]) each.dispose();
    });
    expect(live().handles).toBe(before);
  });

  test('falls along a valley as far as AdamW does', () =>
    scope(() => {
      const goal = randn([80, 80]);
      const fallen = [optim.AdamW, optim.AdamW8bit].map((Kind) => {
        const x = tensor(new Float32Array(6400), { shape: [80, 80] }).requiresGrad_();
        const optimizer = new Kind(new Map([['x', x]]), { learningRate: 0.05, weightDecay: 0 });
        for (let i = 0; i < 120; i++) {
          x.grad = noGrad(() => x.sub(goal));
          optimizer.step();
        }
        optimizer.dispose();
        return noGrad(() => x.sub(goal).norm().item() / goal.norm().item());
      });
      expect(fallen[0]).toBeLessThan(0.01);
      expect(fallen[1]).toBeLessThan(0.02);
    }));
});
