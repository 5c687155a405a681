import { expect, test } from 'vitest';

import { byDifficulty, passAtK, samplePasses, type SampledAnswers } from './passes.ts';
import { Experiment } from '../question/experiment.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import type { Prompt, Rollout } from '../types.ts';

test('pass@k by hand', () => {
  // Of 4 answers 1 is right: a draw of 2 misses it with probability C(3, 2) / C(4, 2) = 1/2.
  expect(passAtK(4, 1, 2)).toBeCloseTo(0.5);
  expect(passAtK(16, 4, 1)).toBeCloseTo(0.25);
  expect(passAtK(16, 0, 16)).toBe(0);
  expect(passAtK(16, 1, 16)).toBe(1);
});

test('an answer passes where it is as accurate as the label', async () => {
  const samples = [sample([], { id: 'a' }), sample([{ bbox_2d: [0, 0, 9, 9] }], { id: 'b' })];
  const answer = (text: string): Rollout => ({ text, tokens: [1, 2, 3], logProbs: [], stop: 'eos' });
  const asked: number[] = [];
  const encode = (): Promise<Prompt> => Promise.resolve({ frames: [SQUARE] } as unknown as Prompt);
  const policy = {
    encoder: { encode },
    sample: (prompts: readonly unknown[], { group, promptIds }: { group: number; promptIds: readonly number[] }) => {
      asked.push(...promptIds);
      const texts = ['<think>a</think><answer>[]</answer>', 'nothing'];
      return Promise.resolve(prompts.map(() => Array.from({ length: group }, (_, i) => answer(texts[i % 2]!))));
    },
  };
  const experiment = Experiment.open().decide(samples);
  const found = await samplePasses(policy, experiment, samples, () => 'all', { answers: 4, maxNewTokens: 9, seed: 1 });
  expect(asked).toEqual([0, 1]);
  expect(found).toMatchObject([
    { id: 'a', answers: 4, passes: 2, thinking: 0.5, length: 3 },
    { id: 'b', passes: 0 },
  ]);
});

test('questions by how often the base is right', () => {
  const answers = (passes: number, length: number): SampledAnswers => ({
    ...{ id: '', set: 'all', answers: 4, passes, thinking: 1, length },
  });
  const rows = byDifficulty(
    new Map([
      ['base', [answers(0, 5), answers(4, 5), answers(0, 5)]],
      ['ours', [answers(4, 9), answers(4, 5), answers(2, 7)]],
    ]),
  );
  expect(rows.map(({ difficulty, questions }) => [difficulty, questions])).toEqual([
    ['never', 2],
    ['always', 1],
  ]);
  expect(rows[0]!.policies.get('ours')).toEqual({ passRate: 0.75, thinking: 1, length: 8 });
  expect(rows[0]!.policies.get('base')!.passRate).toBe(0);
});
