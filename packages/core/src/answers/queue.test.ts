import { setTimeout } from 'node:timers/promises';

import { live } from '@visurf/torch';
import { afterAll, expect, test } from 'vitest';
import { generate } from '../infer.ts';
import { loadPolicy } from '../opened.ts';
import { loadLocalPolicy } from '../policy.ts';
import { tinyModel } from '../testing/oracle.ts';
import { AnswerQueue, type AskOptions, type Said } from './queue.ts';

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

/** What does something the first time only. */
function once(body: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) body();
    isDone = true;
  };
}

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

test('whoever comes later is answered beside a long answer, not after it, and all as they would be alone', async () => {
  const queue = new AnswerQueue(policy);
  const before = live().handles;
  const long: AskOptions = { maxNewTokens: 120, temperature: 1, seed: 2 };
  // The group has rows enough for packed weights: those of the long answer change in its middle.
  const later: AskOptions = { maxNewTokens: 6, temperature: 1, seed: 5, n: 4 };
  const ended: string[] = [];
  const begun = Promise.withResolvers<unknown>();
  const first = queue.ask(questions[0]!, long, () => begun.resolve(undefined)).finally(() => ended.push('long'));
  await begun.promise;
  const second = queue.ask(questions[1]!, later).finally(() => ended.push('later'));
  const [{ answers: whole }, { answers: short }] = await Promise.all([first, second]);
  expect(ended).toEqual(['later', 'long']);
  expect(queue.counts).toEqual({ batches: 2, questions: 2 });
  expect(live().handles).toBe(before);
  const tokensOf = (said: readonly Said[]): number[][] => said.map(({ tokens }) => tokens.map(({ token }) => token));
  const apart = new AnswerQueue(policy);
  expect(tokensOf(whole)).toEqual(tokensOf((await apart.ask(questions[0]!, long)).answers));
  expect(tokensOf(short)).toEqual(tokensOf((await apart.ask(questions[1]!, later)).answers));
  expect(whole[0]!.tokens).toHaveLength(120);
});

test('no more answers at once than are allowed, and what needs the model for itself has it', async () => {
  const queue = new AnswerQueue(policy, 3);
  let [speaking, most] = [0, 0];
  const ask = (n: number, maxNewTokens: number): { begun: Promise<unknown>; ended: Promise<unknown> } => {
    const begun = Promise.withResolvers<unknown>();
    const hear = once(() => {
      most = Math.max(most, (speaking += n));
      begun.resolve(undefined);
    });
    const ended = queue.ask(questions[0]!, { n, maxNewTokens, temperature: 1, seed: 2 }, hear);
    return { begun: begun.promise, ended: ended.finally(() => (speaking -= n)) };
  };
  const first = ask(1, 60);
  await first.begun;
  const others = [ask(2, 12), ask(2, 12)];
  await others[0]!.begun;
  const alone = queue.alone(() => Promise.resolve(speaking));
  const late = ask(1, 3);
  await Promise.all([first, ...others, late].map(({ ended }) => ended));
  expect([most, await alone]).toEqual([3, 0]);
});

test('whoever goes away waits no more, and the others are answered', async () => {
  const queue = new AnswerQueue(policy);
  const gone = new AbortController();
  const late = queue.ask(questions[1]!, { maxNewTokens: 400, temperature: 1, signal: gone.signal });
  const kept = queue.ask(questions[0]!, { maxNewTokens: 20 });
  void setTimeout(5).then(() => gone.abort(new Error('gone')));
  await expect(late).rejects.toThrow('gone');
  expect((await kept).answers).toHaveLength(1);
});

test('in a thread: the same answers, mistakes as they are, and the event loop stays free', async () => {
  using thread = await loadPolicy(tinyModel, { worker: true });
  const before = performance.eventLoopUtilization();
  const there = await Promise.all(questions.map((each) => generate(thread, each, { maxNewTokens: 60 })));
  const { utilization } = performance.eventLoopUtilization(before);
  for (const [i, each] of questions.entries()) {
    expect(there[i]!.tokens).toEqual((await generate(policy, each, { maxNewTokens: 60 })).tokens);
  }
  // As a share, which is the same beside other work: what computes here takes nearly all of it.
  expect(utilization).toBeLessThan(0.5);
  const pieces: string[] = [];
  const { text } = await generate(thread, questions[0]!, { maxNewTokens: 8 }, (piece) => pieces.push(piece));
  expect(pieces.join('')).toBe(text);
  await expect(generate(thread, { problem: 'x', images: ['nothing.png'] })).rejects.toThrow('image file not found');
  await expect(loadPolicy('/nowhere', { worker: true })).rejects.toThrow('no such directory');
});
