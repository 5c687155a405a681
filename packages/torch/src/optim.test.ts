import { describe, expect, test } from 'vitest';

import { live, nn, ones, optim, scope, tensor, type Tensor } from './index.ts';

const leaf = (values: number[]): Tensor => tensor(values, { dtype: 'float64' }).requiresGrad_();
const give = (parameter: Tensor, ...gradient: number[]): void => {
  parameter.grad = tensor(gradient, { dtype: 'float64' });
};

describe('AdamW', () => {
  // m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p = p (1 - lr wd) - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
  test('two steps are those of the paper', () => {
    const p = leaf([1]);
    const optimizer = new optim.AdamW(new Map([['p', p]]), {
      learningRate: 0.1,
      betas: [0.9, 0.99],
      eps: 1e-8,
      weightDecay: 0.5,
    });
    give(p, 2);
    optimizer.step();
    // m / 0.1 = 2, v / 0.01 = 4: 1 * 0.95 - 0.1 * 2 / 2
    expect(p.item()).toBeCloseTo(0.85, 8);
    give(p, -1);
    optimizer.step();
    // m = 0.9 * 0.2 - 0.1 = 0.08, / 0.19; v = 0.99 * 0.04 + 0.01 = 0.0496, / 0.0199
    expect(p.item()).toBeCloseTo(0.85 * 0.95 - (0.1 * (0.08 / 0.19)) / Math.sqrt(0.0496 / 0.0199), 8);
  });

  test('leaves alone what has no gradient, and counts steps for each parameter', () => {
    const [p, q] = [leaf([1]), leaf([1])];
    const optimizer = new optim.AdamW(new Map([['p', p], ['q', q]]), { learningRate: 0.1, weightDecay: 0 }); // prettier-ignore
    give(p, 1);
    optimizer.step();
    expect([p.item(), q.item()].map((value) => value.toFixed(6))).toEqual(['0.900000', '1.000000']);
    give(q, 5);
    p.grad = undefined;
    optimizer.step();
    expect(q.item()).toBeCloseTo(0.9, 6);
    expect([...optimizer.state()].filter(([key]) => key.startsWith('step')).map(([, each]) => each.item())).toEqual([1, 1]); // prettier-ignore
  });

  test('does nothing without gradients', () => {
    const p = leaf([1]);
    new optim.AdamW(new Map([['p', p]]), { learningRate: 0.1 }).step();
    expect(p.item()).toBe(1);
  });
});

describe('SGD', () => {
  test('p -= lr g, with weight decay in the gradient', () => {
    const p = leaf([2]);
    give(p, 1);
    new optim.SGD(new Map([['p', p]]), { learningRate: 0.5 }).step();
    expect(p.item()).toBe(1.5);
    new optim.SGD(new Map([['p', p]]), { learningRate: 0.5, weightDecay: 2 }).step();
    expect(p.item()).toBe(1.5 - 0.5 * (1 + 2 * 1.5));
    expect(p.grad?.item()).toBe(1);
  });

  test('momentum: v = 0.5 v + g', () => {
    const p = leaf([0]);
    const optimizer = new optim.SGD(new Map([['p', p]]), { learningRate: 1, momentum: 0.5 });
    const seen = [1, 1, 1].map((gradient) => {
      give(p, gradient);
      optimizer.step();
      return p.item();
    });
    expect(seen).toEqual([-1, -2.5, -4.25]);
  });
});

test.each<[string, (named: Map<string, Tensor>) => optim.Optimizer]>([
  ['AdamW', (named) => new optim.AdamW(named, { learningRate: 0.1 })],
  ['SGD', (named) => new optim.SGD(named, { learningRate: 0.1, momentum: 0.9 })],
])('%s goes on from a saved state to the same numbers, bit for bit', (_, make) => {
  const update = (p: Tensor, optimizer: optim.Optimizer, from: number, to: number): void => {
    for (let i = from; i < to; i++) {
      p.mul(tensor([i, 1 - i], { dtype: 'float64' })).exp().sum().backward(); // prettier-ignore
      optimizer.step();
      optimizer.zeroGrad();
    }
  };
  const p = leaf([0.5, -0.25]);
  const optimizer = make(new Map([['p', p]]));
  update(p, optimizer, 0, 3);
  const saved = new Map([...optimizer.state()].map(([key, each]) => [key, each.clone()]));
  const q = leaf(p.toArray());
  update(p, optimizer, 3, 6);

  const resumed = make(new Map([['p', q]]));
  resumed.loadState(saved);
  update(q, resumed, 3, 6);
  expect(q.toArray()).toEqual(p.toArray());
  expect(() => resumed.loadState(new Map())).toThrow('the optimiser state has no');
  const [key = ''] = saved.keys();
  expect(() => resumed.loadState(new Map(saved).set(key, ones([3])))).toThrow('has shape [2], not [3]');
});

test('an optimiser frees its state, and its steps leave no handle', () => {
  const layer = new nn.Linear(2, 2);
  const before = live().handles;
  const optimizer = new optim.AdamW(layer.namedParameters(), { learningRate: 0.1 });
  const made = live().handles;
  expect(made - before).toBe(6);
  scope(() => layer.forward(ones([1, 2])).sum()).backward();
  const forward = live().handles;
  optimizer.step();
  optim.clipGradNorm(layer.parameters(), 1);
  optimizer.zeroGrad();
  expect(live().handles).toBe(forward);
  optimizer.dispose();
  expect(live().handles).toBe(forward - 6);
});

describe('clipGradNorm', () => {
  const norm = (max: number): [number, number[]] => {
    const [p, q, r] = [leaf([0]), leaf([0, 0]), leaf([0])];
    give(p, 3);
    give(q, 0, 4);
    return [optim.clipGradNorm([p, q, r], max), [p, q].flatMap((each) => each.grad?.toArray() ?? [])];
  };
  test('scales gradients of the joint norm 5 down to 1, and returns 5', () => {
    const [before, [a = 0, b, c = 0]] = norm(1);
    expect([before, b]).toEqual([5, 0]);
    expect([a, c].map((value) => value.toFixed(5))).toEqual(['0.60000', '0.80000']);
  });
  test('leaves small ones as they are', () => {
    expect(norm(5)).toEqual([5, [3, 0, 4]]);
    expect(optim.clipGradNorm([leaf([1])], 1)).toBe(0);
  });
  test('shows a gradient that is not finite', () => {
    const p = leaf([0]);
    give(p, NaN);
    expect(optim.clipGradNorm([p], 1)).toBeNaN();
  });
});

test('largest: the magnitude of any element, whatever it is', () => {
  expect(optim.largest([])).toBe(0);
  expect(optim.largest([leaf([1, -3]), leaf([2])])).toBe(3);
  // A sum of squares would be no number that 32 bits can hold.
  expect(optim.largest([leaf([1e30]), leaf([-2])])).toBeCloseTo(1e30, -24);
  expect(optim.largest([leaf([1, -Infinity]), leaf([2])])).toBe(Infinity);
  expect(optim.largest([leaf([1, NaN, 3]), leaf([2])])).toBeNaN();
});

describe('scheduleFactor', () => {
  const factors = (decay: optim.Schedule['decay'], warmupSteps: number, floor: number): number[] =>
    Array.from({ length: 6 }, (_, step) => optim.scheduleFactor(step, 6, { decay, warmupSteps, floor })).map(
      (factor) => Math.round(factor * 1e6) / 1e6,
    );
  test('warms up in equal parts, then decays over what is left', () => {
    expect(factors('constant', 4, 0)).toEqual([0.25, 0.5, 0.75, 1, 1, 1]);
    expect(factors('linear', 2, 0)).toEqual([0.5, 1, 1, 0.75, 0.5, 0.25]);
    expect(factors('cosine', 2, 0.1)).toEqual([0.5, 1, 1, 0.868198, 0.55, 0.231802]);
  });
  test('stays above the floor, and at it afterwards', () => {
    expect(factors('linear', 0, 0.5)).toEqual([1, 0.833333, 0.666667, 0.5, 0.5, 0.5]);
    expect(optim.scheduleFactor(100, 6, { decay: 'cosine', warmupSteps: 0, floor: 0.1 })).toBeCloseTo(0.1, 12);
  });
});
