/** Packed rows cut into sequences give what the composition of operators gives, and its gradients, in float64. */
import { cat, functional, Generator, ones, randn, scope, type Tensor } from '@visurf/torch';
import { expect, test } from 'vitest';

import { composedAttention, type Layout } from './attention.ts';
import { packedSequences, type AttendSequences } from './sequences.ts';

/** What flash attention computes, one sequence after the other. */
const oneByOne: AttendSequences = ([q, k, v], { queryEnds, keyEnds }, causal) => {
  const [ends, stops] = [queryEnds.toArray(), keyEnds.toArray()];
  const repeats = q.size(1) / k.size(1);
  const cut = (x: Tensor, at: readonly number[], i: number): Tensor =>
    x.narrow(0, at[i]!, at[i + 1]! - at[i]!).transpose(0, 1);
  const each = ends.slice(1).map((_, i) => {
    const [queries, keys] = [ends[i + 1]! - ends[i]!, stops[i + 1]! - stops[i]!];
    const options = causal
      ? {
          mask: ones([queries, keys])
            .to('float64')
            .triu(keys - queries + 1)
            .mul(-1e9),
        }
      : {};
    const [own, value] = [cut(k, stops, i), cut(v, stops, i)].map((x) => x.repeatInterleave(repeats, 0));
    return functional.scaledDotProductAttention(cut(q, ends, i), own!, value!, options).transpose(0, 1);
  });
  return cat(each);
};

const cases: readonly { name: string; layout: Layout; heads: number; kvHeads: number; from: number }[] = [
  {
    name: 'responses to prompts of unequal length',
    layout: { lengths: [37, 30, 21], prefix: 37, responses: 3, tokens: 5 },
    heads: 6,
    kvHeads: 2,
    from: 0,
  },
  {
    name: 'the last places of prompts, one of which has none of them',
    layout: { lengths: [40, 30], prefix: 40, responses: 2, tokens: 7 },
    heads: 2,
    kvHeads: 2,
    from: 33,
  },
  {
    name: 'a prompt whose last place is asked for',
    layout: { lengths: [40], prefix: 40, responses: 2, tokens: 7 },
    heads: 4,
    kvHeads: 2,
    from: 39,
  },
  {
    name: 'prompts alone',
    layout: { lengths: [50, 50], prefix: 50, responses: 0, tokens: 0 },
    heads: 4,
    kvHeads: 1,
    from: 3,
  },
];

type Attend = (qkv: readonly [Tensor, Tensor, Tensor], layout: Layout) => Tensor;

function run(attend: Attend, { layout, heads, kvHeads, from }: (typeof cases)[number]): number[][] {
  return scope(() => {
    const options = { dtype: 'float64', generator: new Generator(3) } as const;
    const [batch, places] = [layout.lengths.length, layout.prefix + layout.responses * layout.tokens];
    const q = randn([batch, places - from, heads, 8], options).requiresGrad_();
    const joint = randn([batch, places, 2 * kvHeads, 8], options).requiresGrad_();
    const out = attend([q, joint.narrow(2, 0, kvHeads), joint.narrow(2, kvHeads, kvHeads)], layout);
    // Nobody reads padding.
    const read = randn(out.shape, options);
    layout.lengths.forEach((length, b) => {
      const start = Math.max(0, length - from);
      read
        .select(0, b)
        .narrow(0, start, Math.max(0, layout.prefix - from - start))
        .fill_(0);
    });
    out.backward(read);
    return [out.mul(read), q.grad!, joint.grad!].map((each) => each.toArray());
  });
}

test.each(cases)('$name', (each) => {
  const attend: Attend = (qkv, layout) => packedSequences(qkv, layout, oneByOne);
  const [actual, expected] = [run(attend, each), run(composedAttention, each)];
  expected.forEach((values, i) => {
    const distance = values.reduce((most, value, j) => Math.max(most, Math.abs(value - actual[i]![j]!)), 0);
    expect(distance).toBeLessThan(1e-12);
    expect(actual[i]).toHaveLength(values.length);
  });
});
