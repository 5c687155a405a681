/** What published rewards give, as their own code computed it (oracle/rewards.py). */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeScorer, scoreTerms, totalReward } from '../reward/reward.ts';
import { fixtures } from '../testing/oracle.ts';
import type { Frame } from '../types.ts';
import { sample, SQUARE } from './grounding/testkit.ts';
import { taskDefinition } from './registry.ts';

type Tagged = [text: string, truth: string, ...marks: number[]];

interface Cases {
  readonly visionreasoner: Tagged[];
  readonly 'seg-zero': Tagged[];
  readonly 'vlm-r1': [text: string, box: number[], frame: [number, number, number, number], ...marks: number[]][];
  readonly mathruler: Tagged[];
  readonly r1v: Tagged[];
}

const cases = JSON.parse(readFileSync(path.join(fixtures, 'rewards.json'), 'utf8')) as Cases;

/** Terms of an answer with their weights, and the total, by a task with a reward. */
function marks(name: string, reward: string, text: string, solution: unknown, frame: Frame) {
  const definition = taskDefinition(name);
  const samples = [sample(solution, { task: name })];
  const parameters = definition.parameters.parse({ reward, ...(reward === 'visionreasoner' && { points: true }) });
  const task = definition.create(parameters, samples);
  const truth = task.parseTruth(samples[0]!, [frame]);
  const scorer = makeScorer(task);
  const terms = scoreTerms(scorer, { text, stop: 'eos' }, { sample: samples[0]!, truth, frames: [frame] });
  return { terms, total: totalReward(terms, task.weights) };
}

/** Seg-Zero's text as our readers give it. */
function fromTags(text: string): unknown {
  const numbers = [...text.matchAll(/\d+/g)].map(Number);
  return [{ bbox_2d: numbers.slice(0, 4), point_2d: numbers.slice(4, 6), second_2d: numbers.slice(6) }];
}

test('there are 2,000 cases', () => {
  expect(Object.values(cases).flat().length).toBe(2000);
});

describe('grounding', () => {
  test('visionreasoner', () => {
    for (const [text, solution, format, accuracy, nonRepeat] of cases.visionreasoner) {
      const { terms, total } = marks('grounding', 'visionreasoner', text, solution, SQUARE);
      expect({ text, solution, format: terms['thinking']! + terms['format']!, repeat: terms['nonRepeat'] }).toEqual({
        ...{ text, solution, format: expect.closeTo(format!, 9) as number, repeat: nonRepeat },
      });
      expect(terms['accuracy'], JSON.stringify([text, solution])).toBeCloseTo(accuracy!, 9);
      expect(total).toBeCloseTo(format! + accuracy! + nonRepeat!, 9);
    }
  });

  test('seg-zero', () => {
    for (const [text, solution, thinking, format, accuracy] of cases['seg-zero']) {
      const { terms, total } = marks('grounding', 'seg-zero', text, fromTags(solution), SQUARE);
      expect({ text, solution, ...terms }).toMatchObject({ text, solution, thinking, format, accuracy });
      expect(total).toBe(thinking! + format! + accuracy!);
    }
  });

  test('vlm-r1', () => {
    for (const [text, box, [width, height, modelWidth, modelHeight], format, accuracy] of cases['vlm-r1']) {
      const frame = { width, height, modelWidth, modelHeight };
      const { terms, total } = marks('grounding', 'vlm-r1', text, [{ bbox_2d: box }], frame);
      expect({ text, box, thinking: terms['thinking'] }).toEqual({ text, box, thinking: format });
      expect(terms['accuracy'], text).toBeCloseTo(accuracy!, 9);
      expect(total).toBeCloseTo(format! + accuracy!, 9);
    }
  });
});

test.each(['mathruler', 'r1v'] as const)('math: %s', (reward) => {
  for (const [text, truth, expected] of cases[reward]) {
    const { total } = marks('math', reward, text, truth, SQUARE);
    expect({ text, truth, total }).toEqual({ text, truth, total: expect.closeTo(expected!, 9) as number });
  }
});
