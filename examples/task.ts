/** A task of one's own, `plugins: [task.ts]` in a configuration: how many there are. Solutions are numbers. */
import { answerBlock, answerText, aroundOf, defineTask, mean, percentages } from 'visurf';
import { solutionFault, taggedTerms, termWeights, textForms, withThinking } from 'visurf';
import { z } from 'zod';

/** The number that a response gives; undefined where it gives none. */
const said = (text: string): number | undefined => {
  const words = answerText(text) ?? '';
  return /^\d+$/.test(words) ? Number(words) : undefined;
};

export default defineTask({
  name: 'count',
  parameters: z.strictObject({ weights: termWeights }),
  create: ({ weights }) => ({
    name: 'count',
    template: 'How many: {Question}? Think in <think> </think>, then give the number in <answer> </answer>.',
    variables: (problem) => ({ Question: problem }),
    parseTruth(sample) {
      if (/^\d+$/.test(sample.solution)) return Number(sample.solution);
      return solutionFault(sample, 'the solution is no number', 'write how many there are, such as 3');
    },
    forms: textForms(String),
    recognise: (text) => (said(text) === undefined ? undefined : aroundOf(answerBlock(text)!)),
    parse: (text) => ({ wellFormed: said(text) !== undefined, boxes: [], points: [], answer: answerText(text) }),
    // The nearer, the better.
    terms: (answer, truth) => {
      const number = said(answer.text);
      const accuracy = number === undefined ? 0 : 1 / (1 + Math.abs(number - truth));
      return taggedTerms(answer, { format: Number(number !== undefined), accuracy });
    },
    weights,
    thinkingTerm: 'thinking',
    accuracyTerm: 'accuracy',
    wrongButWellFormed: (truth) => withThinking(' wrong', `<answer>${truth + 9}</answer>`),
    nearlyRight: (truth) => withThinking(' nearly', `<answer>${truth + 1}</answer>`),
    evaluate: ({ text }, truth) => ({ right: said(text) === truth }),
    metrics: (evaluations) => percentages({ accuracy: mean(evaluations, ({ right }) => right === true) }),
  }),
});
