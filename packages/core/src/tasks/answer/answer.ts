/**
 * Short answers: a word or a number, compared with one or several true answers, the best of which counts. The solution is
 * a text, or a list of texts in JSON.
 */
import { z } from 'zod';
import type { Sample } from '../../types.ts';
import { solutionFault } from '../fault.ts';
import { mean, percentages } from '../means.ts';
import type { Answer, Evaluation, Task, TaskDefinition } from '../task.ts';
import { answerBlock, hasTags, thinkingFormat } from '../thinking.ts';
import { answerText, aroundOf, textForms } from '../text.ts';
import { taggedTerms, termWeights, unsaidWeights } from '../weights.ts';
import { anls, exactMatch, relaxedMatch } from './strings.ts';

export interface AnswerTruth {
  /** The first is what the label says. */
  readonly answers: readonly string[];
}

const TEMPLATE =
  '{Question} Output the thinking process in <think> </think> and final answer, a single word or phrase, in <answer> ' +
  '</answer> tags.i.e., <think> thinking process here </think><answer>answer here</answer>';

const parameters = z.strictObject({
  weights: termWeights,
  /** `exact`: the same words; `relaxed`: numbers may be off by 5% (ChartQA); `anls`: by edit distance (DocVQA). */
  match: z.enum(['exact', 'relaxed', 'anls']).default('exact'),
});
type Parameters = z.output<typeof parameters>;

export const answer: TaskDefinition<typeof parameters, AnswerTruth> = {
  name: 'answer',
  parameters,
  unsaid: { weights: unsaidWeights, match: 'exact' },
  create: (chosen) => makeAnswer(chosen),
};

const MATCHES = { exact: exactMatch, relaxed: relaxedMatch, anls } as const;

/** Words of which the one least like the truth is a wrong answer. */
const WRONG = ['nothing', '0', 'unknown'];

interface AnswerEvaluation extends Evaluation {
  readonly match: number;
  readonly thinking: boolean;
  readonly wellFormed: boolean;
}

function makeAnswer({ weights, match }: Parameters): Task<AnswerTruth> {
  const best = (said: string, { answers }: AnswerTruth): number =>
    answers.reduce((most, truth) => Math.max(most, MATCHES[match](said, truth)), -Infinity);
  /** Similarity to the best true answer; 0 where nothing is said. */
  const matchOf = ({ text }: Answer, truth: AnswerTruth): number => {
    const said = answerText(text);
    return said === undefined ? 0 : best(said, truth);
  };
  const wrong = (truth: AnswerTruth): string =>
    WRONG.reduce((least, said) => (best(said, truth) < best(least, truth) ? said : least));
  return {
    name: 'answer',
    template: TEMPLATE,
    variables: (problem) => ({ Question: problem.trim() }),
    parseTruth,
    schema: { type: 'string' },
    forms: textForms(({ answers }) => answers[0]!),
    recognise(text) {
      const block = answerBlock(text);
      return block === undefined || answerText(text) === undefined ? undefined : aroundOf(block);
    },
    parse: (text) => ({
      ...{ wellFormed: answerText(text) !== undefined, boxes: [], points: [], answer: answerText(text) },
    }),
    terms: (said, truth) =>
      taggedTerms(said, { format: Number(answerText(said.text) !== undefined), accuracy: matchOf(said, truth) }),
    weights,
    thinkingTerm: 'thinking',
    accuracyTerm: 'accuracy',
    wrongButWellFormed: (truth) => `<think> wrong</think><answer>${wrong(truth)}</answer>`,
    nearlyRight: (truth) => nearlyRight(truth, matchOf),
    evaluate: (said, truth): AnswerEvaluation => ({
      match: matchOf(said, truth),
      thinking: thinkingFormat(said) === 1,
      wellFormed: answerText(said.text) !== undefined,
    }),
    metrics(evaluations) {
      const all = evaluations as readonly AnswerEvaluation[];
      return percentages({
        accuracy: mean(all, (each) => each.match),
        thinking: mean(all, ({ thinking }) => thinking),
        malformed: mean(all, ({ wellFormed }) => !wellFormed),
      });
    },
  };
}

/** One letter too many, which is nearly right by edit distance; undefined where that is right or wrong. */
function nearlyRight(truth: AnswerTruth, matchOf: (said: Answer, truth: AnswerTruth) => number): string | undefined {
  const texts = ['x', 'q'].map((letter) => `<think> nearly</think><answer>${truth.answers[0]!}${letter}</answer>`);
  return texts.find((text) => {
    const match = matchOf({ text, stop: 'eos' }, truth);
    return match > 0 && match < 1;
  });
}

function parseTruth(sample: Sample): AnswerTruth {
  const answers = answersOf(sample.solution).map((text) => text.trim());
  if (answers.length === 0 || answers.includes('')) {
    return solutionFault(sample, 'the solution has no answer, or an empty one', 'write a text or a list of texts');
  }
  if (answers.some(hasTags)) {
    return solutionFault(sample, 'the solution holds tags', 'leave out <think>, <answer> and their ends');
  }
  return { answers };
}

function answersOf(solution: string): readonly string[] {
  try {
    const list: unknown = JSON.parse(solution);
    if (Array.isArray(list)) return list.map(String);
  } catch {
    // A text that is not JSON is the answer itself.
  }
  return [solution];
}
