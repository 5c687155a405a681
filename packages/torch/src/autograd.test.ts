import { describe, expect, test } from 'vitest';

import {
  accumulate, backward, enableGrad, grad, inferenceMode, isGradEnabled, live, nn, noGrad, ones, recompute, scope, tensor, type Tensor,
} from './index.ts'; // prettier-ignore

const leaf = (...values: number[]): Tensor => tensor(values).requiresGrad_();

describe('gradients', () => {
  test('backward adds d (sum x^2) / dx = 2x to the leaf, twice when called twice', () => {
    const x = leaf(1, -3);
    x.square().sum().backward();
    expect(x.grad?.toArray()).toEqual([2, -6]);
    x.square().sum().backward();
    expect(x.grad?.toArray()).toEqual([4, -12]);
  });

  test('a gradient can be taken away', () => {
    const x = leaf(1);
    x.grad = ones([1]);
    x.grad = undefined;
    expect(x.grad).toBeUndefined();
  });

  test('a gradient of the output is needed where it has several elements, and scales', () => {
    const x = leaf(1, 2);
    expect(() => x.mul(3).backward()).toThrow('grad can be implicitly created only for scalar outputs');
    x.mul(3).backward(tensor([1, 10]));
    expect(x.grad?.toArray()).toEqual([3, 30]);
    const y = leaf(1, 2);
    backward([y.mul(2), y.mul(3)], [tensor([1, 1]), tensor([10, 10])]);
    expect(y.grad?.toArray()).toEqual([32, 32]);
  });

  test('grad returns gradients without touching leaves; what the outputs do not use has none', () => {
    const [x, y] = [leaf(2), leaf(5)];
    const [dx, dy] = grad([x.pow(3)], [x, y], { gradOutputs: [tensor([1])] });
    expect(dx?.item()).toBe(12);
    expect(dy).toBeUndefined();
    expect(x.grad).toBeUndefined();
  });

  test('createGraph gives second derivatives: d^2 (x^3) / dx^2 = 6x', () => {
    const x = leaf(2);
    const [first] = grad([x.pow(3).sum()], [x], { createGraph: true });
    const [second] = grad([first!.sum()], [x]);
    expect(second?.item()).toBe(12);
  });

  test('a graph is used once, unless it is retained', () => {
    const x = leaf(2);
    const y = x.square().sum();
    y.backward(undefined, true);
    y.backward();
    expect(x.grad?.item()).toBe(8);
    expect(() => y.backward()).toThrow('backward through the graph a second time');
  });

  test('detach cuts the graph', () => {
    const x = leaf(3);
    x.mul(x.detach()).sum().backward();
    expect(x.grad?.item()).toBe(3);
  });

  test('a gradient has the shape and dtype of its tensor', () => {
    const x = leaf(1, 2);
    expect(() => (x.grad = ones([3]))).toThrow('a gradient has the shape and dtype of its tensor');
    expect(() => (x.grad = ones([2], { dtype: 'float64' }))).toThrow('a gradient has the shape and dtype');
    x.grad = ones([2]);
    expect(x.grad.toArray()).toEqual([1, 1]);
  });

  test('integers have no gradient, and the error says so', () => {
    expect(() => tensor([1], { dtype: 'int64' }).requiresGrad_()).toThrow('floating point');
  });
});

describe('modes', () => {
  test('noGrad records nothing and puts the mode back, also after a throw; enableGrad records inside of it', () => {
    const x = leaf(1);
    expect(noGrad(() => x.mul(2).requiresGrad)).toBe(false);
    expect(() => noGrad(() => x.matmul(ones([2])))).toThrow();
    expect(isGradEnabled()).toBe(true);
    noGrad(() => {
      expect(enableGrad(() => x.mul(2).requiresGrad)).toBe(true);
      expect(isGradEnabled()).toBe(false);
    });
  });

  test('inferenceMode ends, also after a throw', () => {
    const x = leaf(1);
    expect(inferenceMode(() => x.mul(2).requiresGrad)).toBe(false);
    expect(() => inferenceMode(() => x.matmul(ones([2])))).toThrow();
    expect(x.mul(2).requiresGrad).toBe(true);
  });

  test('what inferenceMode made can not meet training: the graph refuses it. noGrad makes what can', () => {
    const x = leaf(1, 2);
    const made = inferenceMode(() => ones([2]).mul(3));
    expect(() => x.mul(made).sum().backward()).toThrow('Inference tensors cannot be saved for backward');
    x.mul(noGrad(() => ones([2]).mul(3)))
      .sum()
      .backward();
    expect(x.grad?.toArray()).toEqual([3, 3]);
  });

  test('a mode does not reach beyond an await', () => {
    expect(() => noGrad(() => Promise.resolve(1))).toThrow('await outside');
    expect(isGradEnabled()).toBe(true);
  });
});

describe('recomputation', () => {
  test('two blocks walked in reverse give the gradients of the plain computation, and keep no graph meanwhile', () => {
    const blocks = [new nn.Linear(3, 3, { dtype: 'float64' }), new nn.Linear(3, 3, { dtype: 'float64' })];
    const parameters = blocks.flatMap((block) => block.parameters());
    const x = tensor([[1, -2, 3]], { dtype: 'float64' }).requiresGrad_();
    const forward = (block: nn.Linear) => (input: Tensor) => block.forward(input).tanh();

    blocks.reduce((input, block) => forward(block)(input), x).sum().backward(); // prettier-ignore
    const expected = [x, ...parameters].map((each) => each.grad?.toArray());
    for (const each of [x, ...parameters]) each.grad = undefined;

    let input: Tensor = x;
    const pulls = blocks.map((block) => {
      const { outputs, pull } = recompute(([each]) => [forward(block)(each)], [input], block.parameters());
      [input] = outputs;
      expect(input.requiresGrad).toBe(false);
      return pull;
    });
    const last = ones([1, 3], { dtype: 'float64' });
    const gradX = pulls.reduceRight<Tensor | undefined>((gradient, pull) => pull([gradient])[0], last);
    expect([gradX, ...parameters.map((each) => each.grad)].map((each) => each?.toArray())).toEqual(expected);
  });

  test('works under noGrad, and frees what it makes', () => {
    const layer = new nn.Linear(2, 2, { bias: false });
    layer.weight.grad = ones([2, 2]);
    scope(() =>
      noGrad(() => {
        const x = ones([1, 2]);
        const { pull } = recompute(([input]) => [layer.forward(input)], [x], layer.parameters());
        const gradOutput = ones([1, 2]);
        const { handles } = live();
        pull([gradOutput])[0]?.dispose();
        expect(live().handles).toBe(handles);
      }),
    );
    expect(layer.weight.grad.toArray()).toEqual([2, 2, 2, 2]);
  });

  test("a gradient that is somebody else's memory is copied, not taken", () => {
    const p = leaf(1, 1);
    const gradOutput = ones([2]);
    const { pull } = recompute(([x]) => [x.add(p)], [ones([2])], [p]);
    pull([gradOutput]);
    pull([gradOutput]);
    expect(p.grad?.toArray()).toEqual([2, 2]);
    expect(gradOutput.toArray()).toEqual([1, 1]);
    accumulate(p, undefined);
    expect(p.grad?.toArray()).toEqual([2, 2]);
  });

  test('what travels beside the stream: taken up later, handed on as it is, or without a gradient', () => {
    const p = leaf(2, 3);
    const [x, y, ids] = [leaf(1, 4), leaf(5, 6), tensor([1, 0], { dtype: 'int64' })];
    const first = recompute(([s, a, i]) => [s.mul(p), a!, i!], [x, y, ids], [p], { ofInputs: [true, true, false] });
    expect(first.outputs.slice(1)).toEqual([y, ids]);
    const second = recompute(([s, a, i]) => [s.add(a!.mul(s)).indexSelect(0, i!)], first.outputs, [], {
      ofInputs: [true, true, false],
    });
    const gradients = first.pull(second.pull([tensor([1, 10])]));
    // d / dx of x p (1 + y), in the order of ids: the weight 10 belongs to the first element.
    expect(gradients.map((each) => each?.toArray())).toEqual([[120, 21], [20, 12], undefined]);
    expect(p.grad?.toArray()).toEqual([60, 28]);
  });
});
