/** Gradients that are added up over processes while the backward pass goes on. */
import { noGrad, scope, type distributed, type Tensor } from '@visurf/torch';
import { expect, onTestFinished, test } from 'vitest';

import { loadModel } from '../families/load.ts';
import { addAdapters } from '../model/lora.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';
import { oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import { trainable } from './optimizer.ts';
import { GradientSums } from './sums.ts';

const lora = { rank: 2, alpha: 4, dropout: 0, rsLora: false, vision: true, targets: undefined };

function adapted(): { readonly model: VisionLanguageModel; readonly parameters: ReadonlyMap<string, Tensor> } {
  const model = loadModel(tinyModel, { dtype: 'float64' });
  onTestFinished(() => model.dispose());
  addAdapters(model, lora, 1);
  return { model, parameters: trainable(model, { freezeVision: false }) };
}

/** Two processes whose gradients are the same. @param anywhere which parameters have one in either, by which have one here */
function twins(sent: number[], anywhere: (touched: readonly number[]) => number[]): distributed.ProcessGroup {
  const done = { wait: () => undefined, done: Promise.resolve() };
  return {
    ...{ rank: 0, size: 2 },
    allReduce: (x: Tensor) => {
      sent.push(x.numel);
      noGrad(() => void x.mul_(2));
      return done;
    },
    agree: (touched: readonly number[]) => Promise.resolve(anywhere(touched)),
  } as unknown as distributed.ProcessGroup;
}

test('blocks leave as they are done, in the order of the backward pass; the sum is that of all', async () => {
  const { model, parameters } = adapted();
  noGrad(() => parameters.forEach((each) => void each.add_(0.01)));
  const items = oracleCases.map((each) => ({
    prompt: oraclePrompt(each),
    responses: each.responses.map(({ tokens }) => tokens),
  }));
  const backward = (watch?: GradientSums): void =>
    scope(() => {
      const pass = model.trained(items, { recomputed: false, watch });
      const scored = model.score(pass.hidden, pass.targets);
      pass.backward(scored.pullback(scored.logProbs.map((_, i) => Math.sin(i + 1))));
    });
  const gradients = (): Map<string, number[]> =>
    new Map([...parameters].map(([key, { grad }]) => [key, grad?.toArray() ?? []]));
  backward();
  const own = gradients();
  for (const each of parameters.values()) each.grad = undefined;
  const sent: number[] = [];
  const sums = new GradientSums(
    parameters,
    twins(sent, (touched) => [...touched]),
    1,
  );
  const left: number[] = [];
  const stageDone = sums.stageDone.bind(sums);
  sums.stageDone = () => {
    stageDone();
    left.push(sent.length);
  };
  backward(sums);
  // A message for each block, as soon as its stage is done.
  const blocks = model.config.text.layers + model.config.vision.depth;
  expect(sent).toHaveLength(blocks);
  expect([...new Set(left)].filter((each) => each > 0)).toEqual(sent.map((_, i) => i + 1));
  expect(sent.reduce((sum, each) => sum + each, 0)).toBe(
    [...parameters.values()].reduce((n, { numel }) => n + numel, 0),
  );
  await sums.collect();
  for (const [key, values] of gradients()) expect(values, key).toEqual(own.get(key)!.map((each) => 2 * each));
});

test('what has a gradient anywhere has one everywhere, what has none has none', async () => {
  const { parameters } = adapted();
  const sums = new GradientSums(
    parameters,
    twins([], (touched) => touched.map((_, i) => (i === 1 ? 1 : 0))),
  );
  sums.begin([]);
  await sums.collect();
  expect([...parameters.values()].filter(({ grad }) => grad).map(({ numel }) => numel)).toHaveLength(1);
});

test('a pass that has not come to its end is not collected', async () => {
  const { parameters } = adapted();
  const sums = new GradientSums(
    parameters,
    twins([], (touched) => [...touched]),
  );
  sums.begin([[...parameters.values()]]);
  await expect(sums.collect()).rejects.toThrow('has not come to its end');
});
