import { full, Generator, noGrad, rand, scope, zeros } from '@visurf/torch';
import { expect, test } from 'vitest';

import { NO_PROMPT } from '../testing/groups.ts';
import type { Grid, Prompt } from '../types.ts';
import { Adapter } from './adapter.ts';
import { Draws, type DropoutKey } from './dropout.ts';
import { pack } from './pack.ts';

const key: DropoutKey = { seed: 3, step: 1, update: 0 };
const promptOf = (length: number): Prompt => {
  const axis = Array.from({ length }, (_, i) => i);
  return { ...NO_PROMPT, inputIds: axis.map(() => 7), positionIds: [axis, axis, axis] };
};

interface Row {
  readonly place: number;
  readonly prompt: number;
  /** Lengths of responses by their number. */
  readonly responses: Readonly<Record<number, number>>;
  readonly grids?: readonly Grid[];
}

/** Keys by what they belong to: of tokens, and of so many rows a patch. */
function keysOf(rows: readonly Row[], changes: Partial<DropoutKey> = {}, perPatch = 1): Map<string, bigint> {
  const numbers = rows.map(({ responses }) => Object.keys(responses).map(Number));
  const drawn = rows.map(({ place }, i) => ({ place, responses: numbers[i]! }));
  const items = rows.map(({ prompt, responses }) => ({
    prompt: promptOf(prompt),
    responses: Object.values(responses).map((length) => Array<number>(length).fill(1)),
  }));
  const packed = pack(items, { imageTokenId: -1, videoTokenId: undefined });
  const grids = rows.map((row) => row.grids ?? []);
  const draws = new Draws({ ...key, ...changes }, drawn);
  draws.lay(packed, grids);
  const tokens = packed.ids.length / rows.length;
  const patches = grids.flat().reduce((sum, [t, h, w]) => sum + t * h * w, 0) * perPatch;
  const found = new Map<string, bigint>();
  scope(() => {
    const flat = draws
      .of(0, false)
      .keys(zeros([rows.length, tokens, 4]))
      .toTypedArray() as BigInt64Array;
    for (const { row, response, start, length } of packed.runs) {
      const { place } = rows[row]!;
      const sequence = response === undefined ? 'prompt' : `response ${numbers[row]![response]}`;
      for (let t = 0; t < length; t++) found.set(`${place}, ${sequence}, ${t}`, flat[start + t]!);
    }
    const last = draws
      .of(0, false)
      .keys(zeros([rows.length, 2, 4]))
      .contiguous();
    expect([...(last.toTypedArray() as BigInt64Array)]).toEqual(
      rows.flatMap((_, b) => [...flat.slice((b + 1) * tokens - 2, (b + 1) * tokens)]),
    );
    if (patches === 0) return;
    const ofPatches = draws
      .of(0, true)
      .keys(zeros([patches, 4]))
      .toTypedArray() as BigInt64Array;
    let at = 0;
    for (const [b, own] of grids.entries())
      for (const [n, [t, h, w]] of own.entries())
        for (let i = 0; i < t * h * w * perPatch; i++)
          found.set(`${rows[b]!.place}, picture ${n}, ${i}`, ofPatches[at++]!);
  });
  draws.dispose();
  return found;
}

const batch: readonly Row[] = [
  { place: 4, prompt: 5, responses: { 0: 3, 1: 9, 3: 4 }, grids: [[1, 4, 2], [3, 2, 2]] },
  { place: 0, prompt: 8, responses: { 2: 6 }, grids: [] },
  { place: 2, prompt: 3, responses: { 0: 1, 1: 2 }, grids: [[2, 2, 2]] },
]; // prettier-ignore

test.each([1, 1.25, 0.25])('keys are those of sequences, whatever is packed with them; %d rows a patch', (perPatch) => {
  const together = keysOf(batch, {}, perPatch);
  expect(together.size).toBe(5 + 2 + 8 + 3 + 8 + 5 + 3 + 0 + 1 + (8 + 12 + 8) * perPatch);
  expect(new Set(together.values()).size).toBe(together.size);
  const alone = batch.flatMap((row) => [...keysOf([row], {}, perPatch)]);
  expect(new Map(alone)).toEqual(together);
  expect(keysOf([...batch].reverse(), {}, perPatch)).toEqual(together);
});

test('other seeds, steps, updates and adapters draw otherwise', () => {
  const seen = [{}, { seed: 4 }, { seed: 3 + 2 ** 40 }, { step: 2 }, { update: 1 }].map((each) => keysOf(batch, each));
  const all = seen.flatMap((keys) => [...keys.values()]);
  expect(new Set(all).size).toBe(all.length);
  const draws = new Draws(key, []);
  const gammas = Array.from({ length: 1000 }, (_, i) => draws.of(i, false).gamma);
  expect(new Set(gammas).size).toBe(1000);
  expect(gammas.every((gamma) => Number.isSafeInteger(gamma) && gamma % 2 === 1)).toBe(true);
});

test.each([0.1, 0.5, 0.9])('a dropout of %d leaves the expectation as it is', (dropout) => {
  scope(() => {
    const [rows, width] = [20_000, 24];
    const options = { rank: 3, scale: 2, dropout };
    const adapter = new Adapter(zeros([5, width], { dtype: 'float64' }), options);
    const plain = new Adapter(zeros([5, width], { dtype: 'float64' }), { ...options, dropout: 0 });
    const generator = new Generator(1);
    noGrad(() => {
      for (const each of [adapter.A, adapter.B]) each.copy_(rand(each.shape, { generator, dtype: 'float64' }));
      plain.A.copy_(adapter.A);
      plain.B.copy_(adapter.B);
    });
    const x = full([1, rows, width], 1, { dtype: 'float64' });
    const draws = new Draws(key, [{ place: 0, responses: [] }]);
    draws.lay(pack([{ prompt: promptOf(rows), responses: [] }], { imageTokenId: -1, videoTokenId: undefined }), [[]]);
    adapter._draws = draws.of(0, false);
    const found = noGrad(() => adapter.forward(x, undefined).view(rows, 5));
    const expected = noGrad(() => plain.forward(x.narrow(1, 0, 1), undefined).view(1, 5));
    const deviation = found.sub(expected).square().mean(0).sqrt();
    expect(deviation.abs().max().item()).toBeGreaterThan(0.1);
    expect(found.mean(0).sub(expected).abs().div(deviation).max().item() * Math.sqrt(rows)).toBeLessThan(5);
    draws.dispose();
  });
});

test('a pass that has not said where its sequences lie draws nothing', () => {
  const draws = new Draws(key, [{ place: 0, responses: [] }]);
  expect(() => draws.of(0, false).keys(zeros([1, 2, 4]))).toThrow('where its sequences lie');
  draws.lay(pack([{ prompt: promptOf(2), responses: [] }], { imageTokenId: -1, videoTokenId: undefined }), [[]]);
  expect(() => draws.of(0, false).keys(zeros([1, 3, 4]))).toThrow('places of sequences');
  draws.dispose();
});
