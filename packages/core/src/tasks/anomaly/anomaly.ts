/**
 * Anomalies: does the picture show a defect, yes or no? The score that the area under the curve is computed from is the
 * answer itself, 1 or 0, as in the published evaluation; an answer that is neither is undecided (0.5), where the
 * published code counts what it cannot read as normal.
 */
import { z } from 'zod';
import type { Sample } from '../../types.ts';
import { solutionFault } from '../fault.ts';
import { question } from '../grounding/template.ts';
import { mean, percentages } from '../means.ts';
import type { Evaluation, Task, TaskDefinition } from '../task.ts';
import { answerBlock, thinkingFormat } from '../thinking.ts';
import { answerText, aroundForms, aroundOf, normalised } from '../text.ts';
import { taggedTerms, termWeights, unsaidWeights } from '../weights.ts';
import { rocAuc } from './auc.ts';

export interface AnomalyTruth {
  readonly anomalous: boolean;
}

const TEMPLATE =
  'Is there a defect in "{Question}"? ' +
  'Output the thinking process in <think> </think> and final answer, yes or no, in <answer> </answer> tags.' +
  'i.e., <think> thinking process here </think><answer>no</answer>';

const parameters = z.strictObject({ weights: termWeights });

export const anomaly: TaskDefinition<typeof parameters, AnomalyTruth> = {
  name: 'anomaly',
  parameters,
  unsaid: { weights: unsaidWeights },
  create: ({ weights }) => makeAnomaly(weights),
};

const CASES = {
  lower: (word: string) => word,
  capital: (word: string) => word[0]!.toUpperCase() + word.slice(1),
  upper: (word: string) => word.toUpperCase(),
} as const;
const CASE_NAMES = Object.keys(CASES) as (keyof typeof CASES)[];

const word = (anomalous: boolean): string => (anomalous ? 'yes' : 'no');

/** What an answer says; undefined where it is neither yes nor no. */
function verdict(text: string): boolean | undefined {
  const said = normalised(answerText(text) ?? '');
  return said === 'yes' ? true : said === 'no' ? false : undefined;
}

interface AnomalyEvaluation extends Evaluation {
  readonly positive: boolean;
  /** 1 for yes, 0 for no, 0.5 for neither. */
  readonly score: number;
  readonly thinking: boolean;
  readonly wellFormed: boolean;
}

function makeAnomaly(weights: Readonly<Record<string, number>>): Task<AnomalyTruth> {
  return {
    name: 'anomaly',
    template: TEMPLATE,
    variables: (problem) => ({ Question: question(problem) }),
    parseTruth,
    schema: { type: 'string', enum: ['yes', 'no'] },
    forms: aroundForms.flatMap(({ name, wrap }) =>
      CASE_NAMES.map((style) => ({
        name: `${style} ${name}`,
        write: ({ anomalous }: AnomalyTruth) => `<answer>${wrap(CASES[style](word(anomalous)))}</answer>`,
      })),
    ),
    recognise,
    parse: (text) => ({
      ...{ wellFormed: verdict(text) !== undefined, boxes: [], points: [], answer: answerText(text) },
    }),
    terms(answer, { anomalous }) {
      const said = verdict(answer.text);
      return taggedTerms(answer, { format: Number(said !== undefined), accuracy: Number(said === anomalous) });
    },
    weights,
    thinkingTerm: 'thinking',
    accuracyTerm: 'accuracy',
    wrongButWellFormed: ({ anomalous }) => `<think> wrong</think><answer>${word(!anomalous)}</answer>`,
    nearlyRight: () => undefined,
    evaluate(answer, { anomalous }): AnomalyEvaluation {
      const said = verdict(answer.text);
      return {
        positive: anomalous,
        score: said === undefined ? 0.5 : Number(said),
        thinking: thinkingFormat(answer) === 1,
        wellFormed: said !== undefined,
      };
    },
    metrics: (evaluations) => metrics(evaluations as readonly AnomalyEvaluation[]),
  };
}

/**
 * In percent: the area under the curve (absent where one class is missing), the share of right answers, that of defects
 * that were found and of normal pictures that were called so, thinking kept, answers that are neither yes nor no.
 */
function metrics(all: readonly AnomalyEvaluation[]): Record<string, number> {
  const isRight = ({ positive, score }: AnomalyEvaluation): boolean => score === Number(positive);
  return percentages({
    rocAuc: rocAuc(all),
    accuracy: mean(all, isRight),
    sensitivity: mean(
      all.filter(({ positive }) => positive),
      isRight,
    ),
    specificity: mean(
      all.filter(({ positive }) => !positive),
      isRight,
    ),
    thinking: mean(all, ({ thinking }) => thinking),
    malformed: mean(all, ({ wellFormed }) => !wellFormed),
  });
}

function parseTruth(sample: Sample): AnomalyTruth {
  const said = verdict(`<answer>${sample.solution}</answer>`);
  if (said !== undefined) return { anomalous: said };
  return solutionFault(sample, `the solution is ${JSON.stringify(sample.solution)}`, 'write "yes" or "no"');
}

function recognise(text: string): string | undefined {
  const [block, said] = [answerBlock(text), verdict(text)];
  if (block === undefined || said === undefined) return undefined;
  const style = CASE_NAMES.find((name) => CASES[name](word(said)) === block.trim());
  return style && `${style} ${aroundOf(block)}`;
}
