import { describe, expect, test } from 'vitest';

import { full, keep, live, nn, ones, scope, tensor, type Tensor } from './index.ts';

/** Handles that `body` leaves behind. */
function left(body: () => unknown): number {
  const before = live().handles;
  body();
  return live().handles - before;
}
const x = tensor([1, 2]).requiresGrad_();

describe('a scope', () => {
  test('frees what it made', () => {
    expect(left(() => scope(() => x.add(1).mul(2).sum().item()))).toBe(0);
  });

  test.each<[string, () => unknown, number]>([
    ['a tensor', () => x.add(1).mul(2), 1],
    ['an array', () => [x.add(1), [x.add(2)]], 2],
    ['an object', () => ({ a: x.add(1), b: { c: { d: { e: { f: { g: x.add(2) } } } } } }), 2],
    ['a map', () => new Map([['a', [x.add(1)]]]), 1],
    ['one tensor twice', () => ((y: Tensor) => [y, y])(x.add(1)), 1],
    ['a tensor from outside', () => x, 0],
    ['what is no tensor', () => [null, undefined, 'a', 1, new Float32Array(2)], 0],
  ])('lets %s live that it returns', (_, body, survivors) => {
    expect(left(() => scope(body))).toBe(survivors);
  });

  test('returns what refers to itself', () => {
    const loop: { self?: unknown; x?: Tensor } = {};
    const result = scope(() => Object.assign(loop, { self: loop, x: x.add(1) }));
    expect(result.x.toArray()).toEqual([2, 3]);
  });

  test('hands what it returns to the scope around it', () => {
    expect(left(() => scope(() => void scope(() => x.add(1)).mul(2)))).toBe(0);
    expect(left(() => scope(() => scope(() => x.add(1))))).toBe(1);
  });

  test('leaves what is kept, through every scope', () => {
    let kept: Tensor | undefined;
    const inside = (): void => {
      kept = keep(keep(x.add(1)));
    };
    expect(left(() => scope(() => scope(inside)))).toBe(1);
    expect(kept?.toArray()).toEqual([2, 3]);
    expect(left(() => kept?.dispose())).toBe(-1);
  });

  test('frees everything on a throw, and the scope around it goes on', () => {
    const throwing = (): never =>
      scope(() => {
        x.add(1);
        throw new Error('inside');
      });
    expect(left(() => expect(throwing).toThrow('inside'))).toBe(0);
    expect(
      left(() =>
        scope(() => {
          expect(throwing).toThrow('inside');
          x.add(1);
        }),
      ),
    ).toBe(0);
  });

  test.each([
    ['a Promise', () => Promise.resolve(1)],
    ['an async function', async () => await Promise.resolve(x.add(1))],
    ['a thenable', () => ({ then: () => undefined })],
  ])('refuses %s', (_, body) => {
    expect(() => scope<unknown>(body)).toThrow('scope() is synchronous');
  });

  test('leaves parameters alone that were made inside', () => {
    const layer = scope(() => new nn.Linear(2, 2));
    expect(layer.forward(ones([1, 2])).shape).toEqual([1, 2]);
    layer.dispose();
  });
});

describe('disposing', () => {
  test('never invalidates the graph', () => {
    const loss = scope(() => {
      const y = x.exp();
      const z = y.mul(y);
      y.dispose();
      return z.sum();
    });
    loss.backward();
    const expected = [2 * Math.exp(2), 2 * Math.exp(4)];
    x.grad?.toArray().forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i] ?? NaN, 4);
    });
    x.grad = undefined;
  });

  test('twice is once; `using` disposes at the end of the block', () => {
    const y = x.add(1);
    y.dispose();
    y.dispose();
    expect(
      left(() => {
        using inside = x.add(1);
        expect(inside.toArray()).toEqual([2, 3]);
      }),
    ).toBe(0);
  });

  test('a tensor that is disposed inside of its scope is not freed again', () => {
    expect(
      left(() =>
        scope(() => {
          const first = x.add(1);
          first.dispose();
          const second = x.add(2);
          return second;
        }),
      ),
    ).toBe(1);
  });
});

test('the bytes of a storage count once, as long as any handle looks at it', () => {
  const { bytes } = live();
  const base = full([1000], 1);
  const view = base.view(10, 100);
  base.add_(1);
  expect(live().bytes - bytes).toBe(4000);
  base.dispose();
  expect(live().bytes - bytes).toBe(4000);
  view.dispose();
  expect(live().bytes - bytes).toBe(0);
});
