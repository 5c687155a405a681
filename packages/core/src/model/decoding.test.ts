/** Layers that decode in one call compute what their operators compute one by one. */
import { noGrad, scope } from '@visurf/torch';
import { expect, onTestFinished, test, vi } from 'vitest';

import { oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import { DecoderLayer } from './decoder.ts';
import { loadModel } from '../families/load.ts';
import { addAdapters } from './lora.ts';
import type { VisionLanguageModel } from './vlm.ts';

const prompts = oracleCases.map(oraclePrompt);
const [responses, tokens] = [3, 4];

/** Hidden states of some tokens, one after the other; `started`: as generation does it. */
function decode(model: VisionLanguageModel, started: boolean): Float64Array {
  return scope(() =>
    noGrad(() => {
      using _decoding = started ? model.startDecoding(prompts.length * responses) : undefined;
      const prefilled = model.prefill(prompts);
      const own = model.fork(prefilled, responses, tokens);
      const states = Array.from({ length: tokens }, (_, at) => {
        const ids = Array.from({ length: prompts.length * responses }, (_, row) => 40 + 3 * row + at);
        const positions = prefilled.nextPositions.map((next) => next + at);
        return model.decode(ids, positions, responses, prefilled, own, at).toArray();
      });
      return Float64Array.from(states.flat());
    }),
  );
}

const watchMlps = (model: VisionLanguageModel) =>
  model.model.layers.flatMap((layer) => (layer instanceof DecoderLayer ? [vi.spyOn(layer.mlp, 'forward')] : []));

test.each([
  ['float64', 1e-12],
  ['float32', 1e-4],
] as const)('%s', (dtype, tolerance) => {
  const model = loadModel(tinyModel, { dtype });
  onTestFinished(() => model.dispose());
  const composed = watchMlps(model);
  const expected = decode(model, false);
  composed.forEach((each) => each.mockClear());
  const found = decode(model, true);
  // Of the prefill alone.
  expect(composed).toHaveLength(model.config.text.layers);
  for (const each of composed) expect(each).toHaveBeenCalledTimes(1);
  expect(Math.max(...found.map((each, i) => Math.abs(each - (expected[i] ?? NaN))))).toBeLessThan(tolerance);
});

test.each(['LoRA', 'bfloat16'])('with %s the operators run one by one', (what) => {
  const model = loadModel(tinyModel);
  onTestFinished(() => model.dispose());
  const adapter = { rank: 2, alpha: 4, dropout: 0, rsLora: false, vision: false };
  if (what === 'LoRA') addAdapters(model, adapter, 1);
  else model.precision = 'bfloat16';
  const composed = watchMlps(model);
  decode(model, true);
  for (const each of composed) expect(each).toHaveBeenCalledTimes(1 + tokens);
});
