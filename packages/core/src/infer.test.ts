/** What the command line asks of a checkpoint, against transformers (oracle/configurations.py). */
import { live } from '@visurf/torch';
import { afterAll, describe, expect, test } from 'vitest';

import { generate, inspect, score } from './infer.ts';
import { loadLocalPolicy } from './policy.ts';
import { configurationNames, openConfiguration } from './testing/configurations.ts';

describe.each(configurationNames)('%s', (name) => {
  const { model, cases } = openConfiguration(name);
  const policy = loadLocalPolicy(model);
  const { inChannels, temporalPatchSize, patchSize } = policy.model.config.vision;
  // A family that cuts pictures into tiles has values [tiles, channels, height, width], and no grids.
  const isTiled = 'open' in policy.model.config.family.processor;
  const width = isTiled ? inChannels : inChannels * temporalPatchSize * patchSize ** 2;
  afterAll(() => policy[Symbol.dispose]());

  test.each(cases)('inspect, score and generate: $name', async (each) => {
    const input = { messages: each.messages };
    const seen = await inspect(model, input);
    expect(seen).toMatchObject({
      rendered: each.rendered,
      inputIds: each.inputIds,
      imageGridThw: isTiled ? [] : each.imageGridThw,
      positionIds: each.positionIds,
    });
    expect(seen.pixelValues?.shape[1]).toBe(each.name === 'text' ? undefined : width);

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
      const pieces: string[] = [];
      const options = { repetitionPenalty: Number(penalty), maxNewTokens: 10 };
      const found = await generate(policy, input, options, (piece) => pieces.push(piece));
      expect(pieces.join('')).toBe(found.text);
      expect(pieces).not.toContain('');
      expect(found.tokens).toEqual(tokens);
      const ended = policy.encoder.tokenizer.eosIds.includes(tokens.at(-1)!);
      expect(found.stop).toBe(ended ? 'eos' : 'length');
    }
  });
});

describe('an answer that is watched', () => {
  const { model } = openConfiguration(configurationNames[0]!);
  const policy = loadLocalPolicy(model);
  afterAll(() => policy[Symbol.dispose]());
  const input = { problem: 'red', images: [] };

  test('stops at the token at which it is told to', async () => {
    const before = live().handles;
    const stop = new AbortController();
    let pieces = 0;
    const count = (): void => {
      if (++pieces === 3) stop.abort(new Error('enough'));
    };
    const said = generate(policy, input, { temperature: 1, maxNewTokens: 200, signal: stop.signal }, count);
    await expect(said).rejects.toThrow('enough');
    expect(pieces).toBe(3);
    expect(live().handles).toBe(before);
  });

  test('does not show the token that ends it, though it were a word', async () => {
    const { tokens } = await generate(policy, input, { maxNewTokens: 20 });
    const { tokenizer } = policy.encoder;
    const eosIds = [...tokenizer.eosIds, tokens[4]!];
    Object.defineProperty(tokenizer, 'eosIds', { value: eosIds });
    let shown = '';
    const { text, stop } = await generate(policy, input, { maxNewTokens: 20 }, (piece) => (shown += piece));
    expect(stop).toBe('eos');
    expect(shown).toBe(text);
  });
});
