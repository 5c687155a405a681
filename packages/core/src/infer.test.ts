/** What the command line asks of a checkpoint, against transformers (oracle/configurations.py). */
import { afterAll, describe, expect, test } from 'vitest';

import { generate, inspect, score } from './infer.ts';
import { loadPolicy } from './policy.ts';
import { configurationNames, openConfiguration } from './testing/configurations.ts';

describe.each(configurationNames)('%s', (name) => {
  const { model, cases } = openConfiguration(name);
  const policy = loadPolicy(model);
  afterAll(() => policy[Symbol.dispose]());

  test.each(cases)('inspect, score and generate: $name', async (each) => {
    const input = { messages: each.messages };
    const seen = await inspect(model, input);
    expect(seen).toMatchObject({
      rendered: each.rendered,
      inputIds: each.inputIds,
      imageGridThw: each.imageGridThw,
      positionIds: each.positionIds,
    });
    expect(seen.pixelValues?.shape[1]).toBe(each.name === 'text' ? undefined : 1176);

    for (const { tokens, logProbs } of each.responses) {
      const found = await score(policy, input, { ids: tokens });
      expect(found.tokens).toEqual(tokens);
      found.logProbs.forEach((value, t) => expect(Math.abs(value - logProbs[t]!)).toBeLessThan(1e-4));
      expect(found.total).toBeCloseTo(
        logProbs.reduce((a, b) => a + b),
        3,
      );
    }

    for (const [penalty, { tokens }] of Object.entries(each.greedy)) {
      const options = {
        temperature: 0,
        topP: 1,
        topK: 0,
        repetitionPenalty: Number(penalty),
        maxNewTokens: 10,
        seed: 0,
      };
      const found = await generate(policy, input, options);
      expect(found.tokens).toEqual(tokens);
      const ended = policy.encoder.tokenizer.eosIds.includes(tokens.at(-1)!);
      expect(found.stop).toBe(ended ? 'eos' : 'length');
    }
  });
});
