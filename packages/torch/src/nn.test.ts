import { describe, expect, test } from 'vitest';

import { arange, live, manualSeed, nn, scope, tensor, type Tensor } from './index.ts';
import { gradcheck } from './testing.ts';

const set = (parameter: Tensor | undefined, ...values: number[]): void => {
  parameter?.detach().copy_(tensor(values).view(...parameter.shape));
};

test('Linear: y = x W^T + b', () => {
  const layer = new nn.Linear(2, 3);
  set(layer.weight, 1, 2, 3, 4, 5, 6);
  set(layer.bias, 10, 20, 30);
  expect(layer.forward(tensor([[1, -1]])).toArray()).toEqual([9, 19, 29]);
  expect(new nn.Linear(2, 3, { bias: false }).bias).toBeUndefined();
});

test('Embedding: rows of W', () => {
  const layer = new nn.Embedding(3, 2);
  set(layer.weight, 1, 2, 3, 4, 5, 6);
  expect(layer.forward(tensor([2, 0], { dtype: 'int64' })).toArray()).toEqual([5, 6, 1, 2]);
});

test('RMSNorm: (1, 7) has the root mean square 5', () => {
  const layer = new nn.RMSNorm(2, 0);
  set(layer.weight, 10, 100);
  layer.forward(tensor([[1, 7]])).toArray().forEach((value, i) => expect(value).toBeCloseTo([2, 140][i] ?? NaN, 4)); // prettier-ignore
});

test('LayerNorm: (1, 7) has mean 4 and deviation 3', () => {
  const layer = new nn.LayerNorm(2, 0);
  set(layer.weight, 10, 100);
  set(layer.bias, 1, 2);
  layer.forward(tensor([[1, 7]])).toArray().forEach((value, i) => expect(value).toBeCloseTo([-9, 102][i] ?? NaN, 4)); // prettier-ignore
});

test('first values: uniform in 1 / sqrt(in), normal, ones and zeros; the seed decides', () => {
  const weights = (): number[] => {
    manualSeed(3);
    return new nn.Linear(100, 100).weight.toArray();
  };
  const first = weights();
  expect(first).toEqual(weights());
  expect(Math.max(...first.map(Math.abs))).toBeLessThanOrEqual(0.1);
  expect(Math.max(...first)).toBeGreaterThan(0.099);
  const normal = new nn.Embedding(100, 100).weight;
  expect(Math.abs(normal.mean().item())).toBeLessThan(0.05);
  expect(Math.abs(normal.square().mean().item() - 1)).toBeLessThan(0.07);
  expect(new nn.RMSNorm(2, 0).weight.toArray()).toEqual([1, 1]);
  expect(new nn.LayerNorm(2, 0).bias.toArray()).toEqual([0, 0]);
});

test.each<[string, () => { parameters(): Tensor[]; forward(x: Tensor): Tensor }]>([
  ['Linear', () => new nn.Linear(3, 2, { dtype: 'float64' })],
  ['RMSNorm', () => new nn.RMSNorm(3, 1e-6, { dtype: 'float64' })],
  ['LayerNorm', () => new nn.LayerNorm(3, 1e-6, { dtype: 'float64' })],
])('%s: gradients agree with finite differences', (_, make) => {
  const layer = make();
  const x = tensor([[1, -2, 0.5], [0, 3, 1]], { dtype: 'float64' }).requiresGrad_(); // prettier-ignore
  gradcheck(() => layer.forward(x), [x, ...layer.parameters()]);
});

describe('a module', () => {
  class Block extends nn.Module {
    readonly norm = new nn.RMSNorm(2, 1e-6);
    readonly mlp = new nn.Linear(2, 2);
    readonly _cache = arange(0, 2);
  }
  class Model extends nn.Module {
    readonly embed = new nn.Embedding(3, 2);
    readonly layers = [new Block(), new Block()];
    readonly head = new nn.Linear(2, 3, { bias: false });
    readonly scale = 2;
  }

  test('names its parameters as a checkpoint does, in the order of the fields', () => {
    expect([...new Model().namedParameters('model').keys()]).toEqual([
      'model.embed.weight',
      'model.layers.0.norm.weight',
      'model.layers.0.mlp.weight',
      'model.layers.0.mlp.bias',
      'model.layers.1.norm.weight',
      'model.layers.1.mlp.weight',
      'model.layers.1.mlp.bias',
      'model.head.weight',
    ]);
  });

  test('names a shared parameter once, by its first path', () => {
    class Tied extends nn.Module {
      readonly embed = new nn.Embedding(3, 2);
      readonly again = this.embed;
      readonly weight = this.embed.weight;
    }
    const tied = new Tied();
    expect([...tied.namedParameters().keys()]).toEqual(['embed.weight']);
    tied.dispose();
  });

  test('frees its parameters and their gradients', () => {
    const { handles } = live();
    const layer = scope(() => {
      const made = new nn.Linear(2, 2);
      made.forward(tensor([[1, 2]])).sum().backward(); // prettier-ignore
      return made;
    });
    layer.dispose();
    expect(live().handles).toBe(handles);
  });
});

test('an outline has shapes and no memory, until its parameters are replaced', () => {
  const before = live();
  const layer = nn.outline(() => new nn.Linear(1000, 500));
  expect(layer.weight.shape).toEqual([500, 1000]);
  expect(live().bytes - before.bytes).toBe(8);
  layer.weight.requiresGrad_(false);
  layer.replaceParameters((path, { shape }) =>
    tensor(new Float64Array(shape.reduce((a, b) => a * b)).fill(path.length), { shape }),
  );
  expect([layer.weight.dtype, layer.weight.requiresGrad, layer.bias?.requiresGrad]).toEqual(['float64', false, true]);
  expect(layer.bias?.toArray().slice(0, 2)).toEqual([4, 4]);
  layer.dispose();
  expect(live()).toEqual(before);
  expect(new nn.RMSNorm(2, 1e-6).weight.toArray()).toEqual([1, 1]);
});
