import { noGrad, scope } from '@visurf/torch';
import { expect, test } from 'vitest';

import { loadLocalPolicy } from './policy.ts';
import { tinyModel } from './testing/oracle.ts';

test('ids without a token are never said, however likely, and keep their place in log-probabilities', async () => {
  using policy = loadLocalPolicy(tinyModel);
  const { model, encoder } = policy;
  const missing = encoder.tokenizer.missingIds(model.config.text.vocabularySize);
  expect(missing.length).toBeGreaterThan(0);
  // A head that prefers them by far.
  const head = model.namedParameters().get('lm_head.weight')!;
  scope(() => noGrad(() => missing.forEach((id) => head.narrow(0, id, 1).mul_(20))));
  const prompt = await encoder.encode({ problem: 'red', images: [] });
  for (const temperature of [0, 0.3, 1]) {
    const sampling = { temperature, topP: 1, topK: 0, repetitionPenalty: 1, maxNewTokens: 24, group: 4 };
    const [group = []] = await policy.sample([prompt], { ...sampling, seed: 3, step: 0, promptIds: [0] });
    const tokens = group.flatMap((rollout) => rollout.tokens);
    expect(tokens.filter((id) => missing.includes(id))).toEqual([]);
    // Of the full vocabulary: what cannot be said takes most of it.
    const mean = group.flatMap(({ logProbs }) => logProbs).reduce((a, b) => a + b) / tokens.length;
    expect(mean).toBeLessThan(-10);
  }
});
