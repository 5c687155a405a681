/** Attention to prompt and response apart, joined by their sums, is attention to both, in float64. */
import { cat, Generator, randn, scope, tensor, type Tensor } from '@visurf/torch';
import { expect, test } from 'vitest';

import { attendAtPlace, placeAt } from './attention.ts';
import { attendShared, keptHeads, planShared, sharedPlaceAt, type AttendAsked } from './shared-decoding.ts';

/** What flash attention computes, one sequence after the other. */
const oneByOne: AttendAsked = ([q, k, v], { queryEnds, keyEnds, used, queries, keys }) => {
  const [from, to, lengths] = [queryEnds.toArray(), keyEnds.toArray(), used.toArray()];
  const each = lengths.map((length, i) => {
    expect(from[i + 1]! - from[i]!).toBe(queries);
    expect(to[i + 1]! - to[i]!).toBe(keys);
    const cut = (x: Tensor, at: number, count: number): Tensor => x.narrow(0, at, count).transpose(0, 1);
    const scores = cut(q, from[i]!, queries)
      .matmul(cut(k, to[i]!, length).transpose(1, 2))
      .mul(q.size(2) ** -0.5);
    return {
      out: scores
        .softmax(-1)
        .matmul(cut(v, to[i]!, length))
        .transpose(0, 1),
      sums: scores.logsumexp(-1),
    };
  });
  return [
    cat(each.map(({ out }) => out)),
    cat(
      each.map(({ sums }) => sums),
      1,
    ),
  ];
};

test.each([
  ['prompts of one length', [9, 9, 9], 2],
  ['prompts of unequal length', [9, 4, 7], 2],
  ['a key head for each query head', [5, 6], 4],
])('%s', (_, lengths, kvHeads) =>
  scope(() => {
    const [heads, size, responses, capacity, filled] = [4, 8, 3, 16, 5];
    const [batch, longest] = [lengths.length, Math.max(...lengths)];
    const options = { dtype: 'float64', generator: new Generator(4) } as const;
    const prompt = {
      keys: randn([batch, kvHeads, longest, size], options),
      values: randn([batch, kvHeads, longest, size], options),
    };
    const past = {
      keys: randn([batch, kvHeads, responses, capacity, size], options),
      values: randn([batch, kvHeads, responses, capacity, size], options),
    };
    const qkv = randn([batch, responses, heads + 2 * kvHeads, size], options);
    const angles = randn([batch, 1, 1, size], options).expand(batch, responses, 1, size);
    const rotation = { cos: angles.cos().contiguous(), sin: angles.sin().contiguous() };
    const mask = lengths.flatMap((length) => Array.from({ length: longest }, (_, i) => (i < length ? 0 : -Infinity)));
    const isPadded = lengths.some((length) => length < longest);
    const padding = isPadded ? tensor(mask, { shape: [batch, 1, 1, 1, 1, longest], dtype: 'float64' }) : undefined;
    const index = tensor([filled], { dtype: 'int64' });

    const apart = { keys: past.keys.transpose(-1, -2).contiguous(), values: past.values.clone() };
    const composed = attendAtPlace(
      qkv,
      rotation,
      { keys: prompt.keys.transpose(-1, -2).contiguous(), values: prompt.values },
      apart,
      placeAt(index, padding, longest, capacity, 'float64'),
    );
    const together = (x: Tensor): Tensor =>
      x
        .permute(0, 2, 3, 1, 4)
        .reshape(batch, 1, responses, capacity, kvHeads * size)
        .contiguous();
    const own = { keys: together(past.keys), values: together(past.values) };
    const prefix = { keys: keptHeads(prompt.keys, 'float64'), values: keptHeads(prompt.values, 'float64') };
    const place = sharedPlaceAt(index, planShared(padding, prefix, own, heads / kvHeads));
    const found = attendShared(qkv, kvHeads, rotation, prefix, own, place, oneByOne);
    expect(found.shape).toEqual(composed.shape);
    const far = found.sub(composed).abs().max().item();
    expect(far).toBeLessThan(1e-12);
    // The new token is where the composition put it.
    expect(own.values.sub(together(apart.values)).abs().max().item()).toBe(0);
    expect(
      own.keys
        .sub(together(apart.keys.transpose(-1, -2)))
        .abs()
        .max()
        .item(),
    ).toBe(0);
  }),
);
