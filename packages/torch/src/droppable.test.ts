import { Worker } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import { backward, grad } from './autograd.ts';
import { droppable } from './droppable.ts';
import { native } from './native.ts';
import { scope } from './scope.ts';
import { unansweredSignals } from './signals.ts';
import { ones, type Tensor } from './index.ts';

const signals = unansweredSignals();
afterEach(() => void (signals[0] = 0));

/** x (1 + 1)^depth as a chain of products with a matrix that has two ones a row. */
function chain(x: Tensor, depth: number, side: number): Tensor {
  const matrix = ones([side, side]).mul(2 / side);
  let y = x;
  for (let i = 0; i < depth; i++) y = y.matmul(matrix);
  return y.sum();
}

const leaf = (side: number): Tensor => ones([side, side]).requiresGrad_();

test('a pass through a graph ends at its next node once another thread sets a number', async () => {
  const numbers = new Int32Array(new SharedArrayBuffer(8));
  const source = `const { workerData: n } = require('node:worker_threads');
    for (;;) { Atomics.wait(n, 1, 0); if (n[1] === 2) break; Atomics.wait(n, 1, 1, 10); Atomics.store(n, 0, 1); Atomics.wait(n, 1, 1); }`;
  const worker = new Worker(source, { eval: true, workerData: numbers });
  const tell = (state: number): void => {
    Atomics.store(numbers, 1, state);
    Atomics.notify(numbers, 1);
  };
  const seen = { cut: false };
  // A thread that is kept waiting may come too late.
  for (let tries = 0; tries < 50 && !seen.cut; tries++) {
    numbers[0] = 0;
    scope(() => {
      const y = chain(leaf(128), 600, 128);
      tell(1);
      try {
        native.backward([y.handle], null, false, numbers.subarray(0, 1));
      } catch (error) {
        expect(String(error)).toContain('cut off at a node of the graph');
        seen.cut = true;
      }
    });
    tell(0);
  }
  tell(2);
  await new Promise((resolve) => worker.once('exit', resolve));
  expect(seen.cut).toBe(true);
});

test('a pass that was cut leaves a graph that is kept as it was', () => {
  scope(() => {
    const x = leaf(2);
    const y = chain(x, 3, 2);
    expect(() => native.backward([y.handle], null, true, Int32Array.of(1))).toThrow('cut off');
    expect(() => native.grad([y.handle], [x.handle], null, true, false, true, Int32Array.of(1))).toThrow('cut off');
    backward([y]);
    expect([...x.grad!.toFloat32Array()]).toEqual([8, 8, 8, 8]);
  });
});

test('work is given up for a signal, within a backward pass, too, and for nothing else', async () => {
  const stop = new AbortController();
  const work = (during: () => void) => (): number[] =>
    scope(() => {
      const x = leaf(2);
      const y = chain(x, 3, 2);
      during();
      const [own] = grad([y], [x], { retainGraph: true });
      backward([y]);
      return [...own!.toFloat32Array(), ...x.grad!.toFloat32Array()];
    });
  expect(
    await droppable(
      stop.signal,
      work(() => undefined),
    ),
  ).toEqual(Array(8).fill(8));
  await expect(droppable(stop.signal, () => ones([2]).matmul(ones([3])))).rejects.toThrow('size');
  const given = droppable(
    stop.signal,
    work(() => {
      signals[0] = 1;
      stop.abort(new Error('stopped'));
    }),
  );
  await expect(given).rejects.toThrow('stopped');
  signals[0] = 0;
  expect(
    await droppable(
      undefined,
      work(() => undefined),
    ),
  ).toHaveLength(8);
});
