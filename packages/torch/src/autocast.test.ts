import { expect, test } from 'vitest';

import {
  autocast,
  clearAutocastCache,
  inferenceMode,
  live,
  nn,
  noGrad,
  ones,
  optim,
  recompute,
  scope,
} from './index.ts';

/** A layer with the weight 1 and y = 4 for x of four ones. */
function layerOfOnes(): nn.Linear {
  const layer = new nn.Linear(4, 1, { bias: false });
  noGrad(() => layer.weight.fill_(1));
  return layer;
}
const x = ones([1, 4]);

test('products are in the dtype of the region, and in float32 after it', () => {
  const layer = layerOfOnes();
  expect(autocast('bfloat16', () => layer.forward(x).dtype)).toBe('bfloat16');
  expect(layer.forward(x).dtype).toBe('float32');
  expect(() => autocast('bfloat16', () => layer.forward(ones([1, 3])))).toThrow();
  expect(layer.forward(x).dtype).toBe('float32');
});

test('regions nest, and the outer one goes on as it was', () => {
  const layer = layerOfOnes();
  const dtypes = autocast('bfloat16', () => [
    autocast('float16', () => layer.forward(x).dtype),
    layer.forward(x).dtype,
  ]);
  expect(dtypes).toEqual(['float16', 'bfloat16']);
});

test('gradients are of the dtype of the weights', () => {
  const layer = layerOfOnes();
  autocast('bfloat16', () => layer.forward(x).sum()).backward();
  expect(layer.weight.grad?.dtype).toBe('float32');
  expect(layer.weight.grad?.toArray()).toEqual([1, 1, 1, 1]);
});

test('the cast of a weight is cached inside a region and forgotten after it', () => {
  const layer = layerOfOnes();
  autocast('bfloat16', () => layer.forward(x));
  noGrad(() => layer.weight.fill_(2));
  expect(autocast('bfloat16', () => layer.forward(x).item())).toBe(8);
});

test('a step of the optimiser inside of a region is seen by the next forward', () => {
  const layer = layerOfOnes();
  const optimizer = new optim.SGD(layer.namedParameters(), { learningRate: 1 });
  autocast('bfloat16', () => {
    layer.forward(x).sum().backward();
    optimizer.step();
    expect(layer.forward(x).item()).toBe(0);
    noGrad(() => {
      layer.forward(x);
      optimizer.step();
      expect(layer.forward(x).item()).toBe(-4);
    });
  });
});

test('what changes weights by other means clears the cache itself', () => {
  const layer = layerOfOnes();
  autocast('bfloat16', () => {
    layer.forward(x);
    layer.weight.detach().fill_(2);
    expect(layer.forward(x).item()).toBe(4);
    clearAutocastCache();
    expect(layer.forward(x).item()).toBe(8);
  });
});

test.each([
  ['noGrad', noGrad],
  ['inferenceMode', inferenceMode],
])('a weight that was cast under %s has its gradient in the same region', (_, mode) => {
  const layer = layerOfOnes();
  autocast('bfloat16', () => {
    mode(() => layer.forward(x));
    layer.forward(x).sum().backward();
  });
  expect(layer.weight.grad?.toArray()).toEqual([1, 1, 1, 1]);
});

test('recomputation inside of a region has the gradients of the plain computation', () => {
  const layer = layerOfOnes();
  autocast('bfloat16', () => {
    const { pull } = recompute(([input]) => [layer.forward(input)], [x], layer.parameters());
    pull([ones([1, 1], { dtype: 'bfloat16' })]);
  });
  expect(layer.weight.grad?.toArray()).toEqual([1, 1, 1, 1]);
});

test('no handle is held by the cache', () => {
  const layer = layerOfOnes();
  const { handles } = live();
  scope(() => {
    autocast('bfloat16', () => layer.forward(x).sum()).item();
  });
  expect(live().handles).toBe(handles);
});
