/** LoRA on a base in four bits, against transformers, PEFT and bitsandbytes (oracle/nf4_adapter.py). */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { live, noGrad, SafetensorsFile, scope, type Tensor } from '@visurf/torch';
import { standInDevice } from '@visurf/torch/testing';
import { describe, expect, test } from 'vitest';

import { families } from '../families/index.ts';
import { loadModel, type LoadOptions } from '../families/load.ts';
import { fixtures, oracleCases, oraclePrompt, tinyModel, type OracleCase } from '../testing/oracle.ts';
import { smallModel } from '../testing/whole-step.ts';
import type { Prompt } from '../types.ts';
import { makeOptimizer } from '../update/optimizer.ts';
import { addAdapters, adapterParameters, mergeAdapters } from './lora.ts';
import { loadAdapter } from './peft.ts';
import { projections, type Projection } from './projection.ts';
import { unpackForDecoding } from './unpacked.ts';
import type { VisionLanguageModel } from './vlm.ts';

const adapter = join(fixtures, 'quantized', 'adapter');
type Named = 'logProbs' | 'logProbsBfloat16' | 'logProbsFull';
const expected = JSON.parse(readFileSync(join(adapter, 'expected.json'), 'utf8')) as {
  readonly codes: Record<string, [string, string]>;
  readonly cases: Record<string, Record<Named, number[]>[]>;
};

function withModel<T>(options: LoadOptions, body: (model: VisionLanguageModel) => T, directory = tinyModel): T {
  const model = loadModel(directory, options);
  try {
    return body(model);
  } finally {
    model.weightsChanged();
    model.dispose();
  }
}
const withAdapter = <T>(options: LoadOptions, body: (model: VisionLanguageModel) => T): T =>
  withModel(options, (model) => {
    loadAdapter(model, adapter);
    return body(model);
  });

const largest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((most, each, i) => Math.max(most, Math.abs(each - (b[i] ?? NaN))), 0);

function scored(model: VisionLanguageModel, each: OracleCase, pull: boolean): number[][] {
  const responses = each.responses.map(({ tokens }) => tokens);
  return scope(() => {
    const { hidden, targets } = model.hidden([{ prompt: oraclePrompt(each), responses }]);
    const score = model.score(hidden, targets);
    const weights = each.responses.flatMap(({ tokens, weight }) => tokens.map(() => weight));
    if (pull) hidden.backward(score.pullback(Float64Array.from(weights)));
    const flat = Array.from(score.logProbs);
    return responses.map(({ length }) => flat.splice(0, length));
  });
}
const distances = (model: VisionLanguageModel, name: Named): number[] =>
  noGrad(() =>
    oracleCases.flatMap((each) =>
      scored(model, each, false).map((mine, i) => largest(mine, expected.cases[each.name]![i]![name])),
    ),
  );

const digest = (each: Tensor): string =>
  createHash('sha256')
    .update(each.dtype === 'uint8' ? Uint8Array.from(each.toArray()) : Float32Array.from(each.toArray()))
    .digest('hex');

test('codes and magnitudes of every layer are the same bits, and other layers are as they were', () =>
  withModel({ quantize: 'nf4' }, (model) => {
    const { reference } = model.config.family.keys;
    const packed = [...projections(model)].filter(([, { _nf4 }]) => _nf4);
    expect(packed.map(([path]) => reference(path)).sort()).toEqual(Object.keys(expected.codes).sort());
    for (const [path, { _nf4 }] of packed) {
      expect([_nf4!.packed, _nf4!.magnitudes].map((each) => scope(() => digest(each)))).toEqual(
        expected.codes[reference(path)],
      );
    }
  }));

test('log-probabilities, also with products in bfloat16; the base in full gives others', () =>
  withAdapter({ quantize: 'nf4' }, (model) => {
    expect(Math.max(...distances(model, 'logProbs'))).toBeLessThan(1e-4);
    expect(Math.max(...distances(model, 'logProbsFull'))).toBeGreaterThan(0.05);
    model.precision = 'bfloat16';
    const far = expected.cases;
    const theirs = Object.values(far).flatMap((all) =>
      all.map((each) => largest(each.logProbs, each.logProbsBfloat16)),
    );
    // Both round in their own order: as far from float32 as theirs.
    expect(Math.max(...distances(model, 'logProbs'))).toBeLessThan(2 * Math.max(...theirs));
  }));

test('gradients of A and B, a step with them, and the base as it was', () =>
  withAdapter({ quantize: 'nf4' }, (model) => {
    for (const each of oracleCases) scored(model, each, true);
    const trained = adapterParameters(model);
    const { reference } = model.config.family.keys;
    using gradients = new SafetensorsFile(join(adapter, 'gradients.safetensors'));
    using after = new SafetensorsFile(join(adapter, 'trained.safetensors'));
    const nameOf = (key: string): string => `base_model.model.${reference(key)}`;
    expect([...trained.keys()].map(nameOf).sort()).toEqual(gradients.names.sort());
    const compare = (mine: Tensor, theirs: Tensor): number => {
      const values = theirs.toArray();
      return largest(mine.toArray(), values) / values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
    };
    scope(() => {
      for (const [key, { grad }] of trained) expect(compare(grad!, gradients.get(nameOf(key))), key).toBeLessThan(1e-4);
    });
    const optimizer = makeOptimizer(trained, {
      ...{ name: 'adamw', learningRate: 1e-2, betas: [0.9, 0.999], weightDecay: 0 },
      ...{ states: 'full', warmupSteps: 0, decay: 'constant', clipNorm: 1 },
    } as Parameters<typeof makeOptimizer>[1]);
    optimizer.step();
    optimizer.dispose();
    scope(() => {
      for (const [key, each] of trained) expect(compare(each, after.get(nameOf(key))), key).toBeLessThan(2e-3);
    });
    expect(model.parameters().filter(({ grad }) => grad !== undefined)).toHaveLength(trained.size);
  }));

test('merging in place is refused: four bits have no room for what an adapter adds', () => {
  const before = live().handles;
  withAdapter({ quantize: 'nf4' }, (model) => expect(() => mergeAdapters(model)).toThrow('in four bits'));
  expect(live().handles).toBe(before);
});

const prompt: Prompt = {
  inputIds: Int32Array.from([3, 5, 7, 9]),
  positionIds: [0, 1, 2].map(() => [0, 1, 2, 3]),
  imageGridThw: [],
} as never;

const numberOf = (layer: object, of: (each: Projection) => boolean): number =>
  [...projections(layer as never).values()].filter(of).length;

describe.each(['cpu', standInDevice()])('on %s', (device) => {
  test.each(['float32', 'bfloat16'] as const)(
    'weights that are numbers while tokens are decoded give the same, in %s; as many layers as there is room for',
    (precision) =>
      withModel({ quantize: 'nf4', device }, (model) => {
        addAdapters(model, { rank: 2, alpha: 4, dropout: 0, rsLora: false, vision: false }, 1);
        noGrad(() => adapterParameters(model).forEach((each, key) => key.includes('lora_B') && each.fill_(0.01)));
        model.precision = precision;
        const { layers } = model.model;
        const ofLayer = [...projections(layers[0]!).values()].reduce((sum, { weight }) => sum + weight.numel, 0);
        const item = precision === 'bfloat16' ? 2 : 4;
        const logits = (free?: number): number[][] =>
          noGrad(() =>
            scope(() => {
              using _decoding = model.startDecoding(2);
              const prefilled = model.prefill([prompt]);
              const own = model.fork(prefilled, 2, 4);
              unpackForDecoding(model, [], free);
              const said = [0, 1].map((at) => {
                const positions = prefilled.nextPositions.map((next) => next + at);
                return model.logits(model.decode([4, 6], positions, 2, prefilled, own, at)).toArray();
              });
              const unpacked = layers.filter((each) => numberOf(each, ({ _unpacks }) => _unpacks) === 7).length;
              expect(unpacked).toBe(free === undefined ? 0 : Math.floor(free / 2 / ofLayer / item));
              return said;
            }),
          );
        const packed = logits();
        model.weightsChanged();
        const before = live().handles;
        for (const free of [4 * ofLayer * item - 2, 4 * ofLayer * item, 2 * layers.length * ofLayer * item])
          // Products of packed and of joined weights may add up in another order.
          logits(free).forEach((each, i) => expect(largest(each, packed[i]!)).toBeLessThan(1e-5));
        expect(numberOf(model.model, ({ _unpacks, _fixed, _joint }) => _unpacks || Boolean(_fixed ?? _joint))).toBe(0);
        model.weightsChanged();
        expect(live().handles).toBe(before);
      }),
  );
});

describe.each(families.map((family) => [family.title, smallModel(family)] as const))('%s', (_, directory) => {
  test('a model in four bits is the one whose weights are what comes back of them, also a token at a time', () => {
    const logitsOf = (model: VisionLanguageModel): number[][] =>
      noGrad(() =>
        scope(() => {
          const prefilled = model.prefill([prompt]);
          const own = model.fork(prefilled, 2, 4);
          using _decoding = model.startDecoding(8);
          const step = model.decode([4, 6], prefilled.nextPositions, 2, prefilled, own, 0);
          return [prefilled.last, step].map((each) => model.logits(each).toArray());
        }),
      );
    const [packed, restored] = withModel(
      { quantize: 'nf4' },
      (model) => {
        const weights = new Map(
          [...projections(model)].flatMap(([path, { _nf4 }]) =>
            _nf4 ? [[path, _nf4.weight('float32')] as const] : [],
          ),
        );
        const other = withModel(
          {},
          (plain) => {
            const own = projections(plain);
            noGrad(() => weights.forEach((each, path) => own.get(path)!.weight.copy_(each)));
            return logitsOf(plain);
          },
          directory,
        );
        weights.forEach((each) => each.dispose());
        return [logitsOf(model), other] as const;
      },
      directory,
    );
    packed.forEach((each, i) => expect(largest(each, restored[i]!)).toBeLessThan(1e-4));
  });

  test('with adapters, recomputed or not, gradients are the same', () => {
    const sums = [false, true].map((recomputed) =>
      withModel(
        { quantize: 'nf4' },
        (model) => {
          addAdapters(model, { rank: 2, alpha: 4, dropout: 0, rsLora: false, vision: false }, 1);
          noGrad(() => adapterParameters(model).forEach((each, key) => key.includes('lora_B') && each.fill_(0.01)));
          scope(() => {
            const pass = model.trained([{ prompt, responses: [[4, 6, 8]] }], { recomputed });
            pass.backward(model.score(pass.hidden, pass.targets).pullback(Float64Array.from([1, 1, 1])));
          });
          return scope(() => [...adapterParameters(model).values()].map(({ grad }) => grad!.abs().sum().item()));
        },
        directory,
      ),
    );
    expect(sums[0]!.every((each) => each > 0)).toBe(true);
    expect(largest(sums[0]!, sums[1]!)).toBeLessThan(1e-3);
  });
});
