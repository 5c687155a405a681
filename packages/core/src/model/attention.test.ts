/** The kernel of packed attention gives what libtorch's operators give, and their gradients. */
import { Generator, randn, scope, type Tensor } from '@visurf/torch';
import { expect, test } from 'vitest';

import { composedAttention, packedAttention, type Layout } from './attention.ts';

interface Case {
  readonly name: string;
  readonly layout: Layout;
  readonly heads: number;
  readonly kvHeads: number;
  readonly size: number;
  readonly from: number;
}

const cases: readonly Case[] = [
  {
    name: 'responses to prompts of unequal length',
    layout: { lengths: [37, 30], prefix: 37, responses: 3, tokens: 5 },
    heads: 6,
    kvHeads: 2,
    size: 16,
    from: 0,
  },
  {
    name: 'responses of several blocks, the last places of the prompt, a head size that fills no vector',
    layout: { lengths: [70], prefix: 70, responses: 2, tokens: 75 },
    heads: 2,
    kvHeads: 2,
    size: 10,
    from: 66,
  },
  {
    name: 'prompts alone',
    layout: { lengths: [50, 50], prefix: 50, responses: 0, tokens: 0 },
    heads: 4,
    kvHeads: 1,
    size: 32,
    from: 3,
  },
];

type Attend = (qkv: readonly [Tensor, Tensor, Tensor], layout: Layout) => Tensor;

function run(attend: Attend, { layout, heads, kvHeads, size, from }: Case): number[][] {
  return scope(() => {
    const options = { dtype: 'float64', generator: new Generator(3) } as const;
    const [batch, places] = [layout.lengths.length, layout.prefix + layout.responses * layout.tokens];
    // Keys and values are parts of a wider product, as projections give them.
    const q = randn([batch, places - from, heads, size], options).requiresGrad_();
    const joint = randn([batch, places, 2 * kvHeads, size], options).requiresGrad_();
    const out = attend([q, joint.narrow(2, 0, kvHeads), joint.narrow(2, kvHeads, kvHeads)], layout);
    out.backward(randn(out.shape, options));
    return [out, q.grad!, joint.grad!].map((each) => each.toArray());
  });
}

test.each(cases)('$name', (each) => {
  const [actual, expected] = [run(packedAttention, each), run(composedAttention, each)];
  expected.forEach((values, i) => {
    const distance = values.reduce((most, value, j) => Math.max(most, Math.abs(value - actual[i]![j]!)), 0);
    expect(distance).toBeLessThan(1e-12);
    expect(actual[i]).toHaveLength(values.length);
  });
});

test('lengths and shapes that do not fit are refused', () => {
  scope(() => {
    const q = randn([1, 8, 2, 4]);
    const layout = { lengths: [5], prefix: 4, responses: 2, tokens: 2 };
    expect(() => packedAttention([q, q, q], layout)).toThrow('a prompt of 5 of 4 places');
    expect(() => packedAttention([q, q.narrow(1, 0, 7), q], { ...layout, lengths: [3] })).toThrow('do not fit');
  });
});
