import { live } from '@visurf/torch';
import { afterAll, expect, test } from 'vitest';
import { generate } from '../infer.ts';
import { loadPolicy } from '../opened.ts';
import { loadLocalPolicy } from '../policy.ts';
import { tinyModel } from '../testing/oracle.ts';
import { AnswerQueue, type AskOptions } from './queue.ts';

const policy = loadLocalPolicy(tinyModel);
afterAll(() => policy[Symbol.dispose]());

const questions = ['red', 'the blue circle, please', 'a', 'where?'].map((problem) => ({ problem, images: [] }));
const ways: readonly AskOptions[] = [
  { maxNewTokens: 12 },
  { maxNewTokens: 7, temperature: 1, seed: 3 },
  { maxNewTokens: 12, temperature: 0.7, topP: 0.8, seed: 4, repetitionPenalty: 1.1 },
  { maxNewTokens: 1 },
];

test('questions that are asked at once are answered in one forward, each as it would be alone', async () => {
  const queue = new AnswerQueue(policy);
  const before = live().handles;
  const answered = await Promise.all(questions.map((each, i) => queue.ask(each, ways[i])));
  expect(queue.counts).toEqual({ batches: 1, questions: 4 });
  expect(live().handles).toBe(before);
  for (const [i, { answers }] of answered.entries()) {
    const alone = await generate(policy, questions[i]!, ways[i] as object);
    expect(answers[0]?.tokens.map(({ token }) => token)).toEqual(alone.tokens);
    expect([answers[0]?.text, answers[0]?.stop]).toEqual([alone.text, alone.stop]);
    answers[0]?.tokens.forEach(({ logProb }, t) => expect(Math.abs(logProb - alone.logProbs[t]!)).toBeLessThan(1e-4));
  }
});

test('several answers to a question have noise of their own, and other likely tokens are told', async () => {
  const queue = new AnswerQueue(policy);
  const { answers } = await queue.ask(questions[0]!, { n: 3, temperature: 1, others: 4, maxNewTokens: 8 });
  expect(new Set(answers.map(({ text }) => text)).size).toBe(3);
  for (const { tokens } of answers) {
    for (const { logProb, others } of tokens) {
      const values = others.map(([, value]) => value);
      expect(values).toEqual(values.toSorted((a, b) => b - a));
      expect(values).toHaveLength(4);
      expect(logProb).toBeLessThanOrEqual(values[0]! + 1e-6);
    }
  }
});

test('whoever goes away waits no more, and the others are answered', async () => {
  const queue = new AnswerQueue(policy);
  const gone = new AbortController();
  const late = queue.ask(questions[1]!, { maxNewTokens: 400, temperature: 1, signal: gone.signal });
  const kept = queue.ask(questions[0]!, { maxNewTokens: 20 });
  setTimeout(() => gone.abort(new Error('gone')), 5);
  await expect(late).rejects.toThrow('gone');
  expect((await kept).answers).toHaveLength(1);
});

test('in a thread: the same answers, mistakes as they are, and the event loop stays free', async () => {
  using thread = await loadPolicy(tinyModel, { worker: true });
  let longest = 0;
  let last = performance.now();
  const ticks = setInterval(() => {
    const now = performance.now();
    [longest, last] = [Math.max(longest, now - last), now];
  }, 2);
  const there = await Promise.all(questions.map((each) => generate(thread, each, { maxNewTokens: 60 })));
  clearInterval(ticks);
  for (const [i, each] of questions.entries()) {
    expect(there[i]!.tokens).toEqual((await generate(policy, each, { maxNewTokens: 60 })).tokens);
  }
  expect(longest).toBeLessThan(50);
  const pieces: string[] = [];
  const { text } = await generate(thread, questions[0]!, { maxNewTokens: 8 }, (piece) => pieces.push(piece));
  expect(pieces.join('')).toBe(text);
  await expect(generate(thread, { problem: 'x', images: ['nothing.png'] })).rejects.toThrow('image file not found');
  await expect(loadPolicy('/nowhere', { worker: true })).rejects.toThrow('no such directory');
});
