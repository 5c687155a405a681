/**
 * Mathematics over a picture: a thought, then the answer in `\boxed{}`. The solution is the answer; with `choices` (a list
 * of texts, a field of the sample) it is the text of one of them, and answers name it by letter or by text.
 *
 * The metric `accuracy` compares values, exactly (value.ts), then by computer algebra (algebra.ts). For samples with MathVista's fields (`question_type`, `answer_type`,
 * `precision`) there is `mathVista` as well: its own rule, applied to the content of the last `\boxed{}`, which stands in
 * for the extraction that its authors leave to a language model.
 */
import { z } from 'zod';
import type { Sample } from '../../types.ts';
import { solutionFault } from '../fault.ts';
import { mean, percentages } from '../means.ts';
import type { Answer, Evaluation, SurfaceForm, Task, TaskDefinition } from '../task.ts';
import { aroundOf, composed, sameWords, textForms } from '../text.ts';
import { answerBlock, hasTags, nonRepeat, thinkingFormat, withThinking } from '../thinking.ts';
import { sameAnswer } from './algebra.ts';
import { beforeBox, boxedContent, boxedFormat } from './boxed.ts';
import { chosen, nameOf } from './choices.ts';
import { normaliseMathVista, type MathVistaQuestion } from './mathvista.ts';
import { DEFAULT_WEIGHTS, mathParameters, unsaidOfMath, type MathParameters } from './parameters.ts';
import { mathrulerTerms, r1vTerms } from './published.ts';
import { sameValue } from './value.ts';

export interface MathTruth {
  readonly answer: string;
  /** Empty where the answer is free. */
  readonly choices: readonly string[];
  readonly mathVista: MathVistaQuestion | undefined;
}

/** The user turn of the published checkpoints, part of their input format. */
const BOXED =
  '{Question} First think about the question and then provide the answer. ' +
  'The answer is in latex format and wrapped using the \\boxed{} command. ' +
  'The thinking process and answer are enclosed within <think> </think> and \\boxed{} tags, respectively. ' +
  'i.e., <think> thinking process here. </think>\\boxed{2}';

/** R1-V's. */
const TAGGED =
  '{Question} Output the thinking process in <think> </think> and final answer in <answer> </answer> tags.' +
  'i.e., <think> thinking process here </think><answer> answer here </answer>';

export const math: TaskDefinition<typeof mathParameters, MathTruth> = {
  name: 'math',
  parameters: mathParameters,
  unsaid: unsaidOfMath,
  decide,
  create: (parameters) => makeMath(parameters.reward, decide(parameters).weights),
};

type Weights = Record<'thinking' | 'format' | 'accuracy' | 'nonRepeat', number>;

function decide(parameters: MathParameters): MathParameters & { readonly weights: Weights } {
  const given = Object.entries(parameters.weights).filter(([, value]) => value !== undefined);
  return { ...parameters, weights: { ...DEFAULT_WEIGHTS[parameters.reward], ...Object.fromEntries(given) } };
}

/** What is written as the answer: the choice's letter, or the answer. */
const written = ({ answer, choices }: MathTruth): string =>
  choices.length > 0 ? nameOf(choices.indexOf(answer), choices) : answer;

const form = (name: string, write: (truth: MathTruth) => string): SurfaceForm<MathTruth> => ({ name, write });

/** How an answer is asked for, written and found in a response. */
interface Style {
  readonly template: string;
  readonly forms: readonly SurfaceForm<MathTruth>[];
  readonly recognise: (text: string) => string | undefined;
  readonly contentOf: (text: string) => string | undefined;
  readonly thinking: (answer: Answer) => 0 | 1;
}

const boxed: Style = {
  template: BOXED,
  forms: [
    form('bare', (truth) => `\\boxed{${written(truth)}}`),
    form('spaced', (truth) => ` \\boxed{${written(truth)}}`),
    form('lines', (truth) => `\n\\boxed{${written(truth)}}`),
    form('dollars', (truth) => `$\\boxed{${written(truth)}}$`),
  ],
  recognise(text) {
    if (boxedContent(text) === undefined) return undefined;
    const [before = ''] = (text.split('</think>').at(-1) ?? '').split('\\boxed{');
    return { '': 'bare', ' ': 'spaced', '\n': 'lines', $: 'dollars' }[before];
  },
  contentOf: boxedContent,
  thinking: boxedFormat,
};

const tagged: Style = {
  template: TAGGED,
  // Its published reward reads no answer across lines.
  forms: textForms(written).filter(({ name }) => name !== 'lines'),
  recognise(text) {
    const around = aroundOf(answerBlock(text) ?? '\n');
    return around === 'lines' ? undefined : around;
  },
  contentOf: (text) => answerBlock(text)?.trim(),
  thinking: thinkingFormat,
};

function isRight(content: string | undefined, { answer, choices }: MathTruth): boolean {
  if (content === undefined) return false;
  if (choices.length === 0) return sameAnswer(content, answer);
  const index = chosen(content, choices);
  return index !== undefined && sameWords(choices[index]!, answer);
}

/** Compared in one form of Unicode: tokenizers change it. */
function isMathVista(said: string, question: MathVistaQuestion, answer: string): boolean {
  const normal = normaliseMathVista(composed(said), question);
  return normal !== null && composed(normal) === composed(answer);
}

interface MathEvaluation extends Evaluation {
  readonly right: boolean;
  readonly thinking: boolean;
  readonly wellFormed: boolean;
}

function makeMath(reward: MathParameters['reward'], weights: Weights): Task<MathTruth> {
  const style = reward === 'r1v' ? tagged : boxed;
  const { contentOf, thinking } = style;
  const published = { mathruler: mathrulerTerms, r1v: r1vTerms, default: undefined }[reward];
  return {
    name: 'math',
    template: style.template,
    variables: (problem) => ({ Question: problem.trim() }),
    parseTruth,
    schema: style === tagged ? { type: 'string' } : undefined,
    forms: style.forms,
    recognise: style.recognise,
    parse: (text) => ({
      ...{ wellFormed: contentOf(text) !== undefined, boxes: [], points: [], answer: contentOf(text) },
    }),
    terms(answer, truth) {
      const content = contentOf(answer.text);
      if (published) return published(answer, written(truth));
      return {
        thinking: thinking(answer),
        format: Number(content !== undefined),
        accuracy: Number(isRight(content, truth)),
        nonRepeat: nonRepeat(beforeBox(answer.text)),
      };
    },
    weights,
    thinkingTerm: 'thinking',
    accuracyTerm: 'accuracy',
    wrongButWellFormed: (truth) => withThinking(' wrong', style.forms[0]!.write({ ...truth, ...wrong(truth) }, [])),
    nearlyRight: () => undefined,
    evaluate(answer, truth): MathEvaluation {
      const content = contentOf(answer.text);
      const { mathVista } = truth;
      return {
        right: isRight(content, truth),
        ...(mathVista && { mathVista: isMathVista(content ?? '', mathVista, truth.answer) }),
        thinking: thinking(answer) === 1,
        wellFormed: content !== undefined,
      };
    },
    metrics(evaluations) {
      const all = evaluations as readonly MathEvaluation[];
      return percentages({
        accuracy: mean(all, ({ right }) => right),
        mathVista: mean(
          all.flatMap(({ mathVista }) => (mathVista === undefined ? [] : [mathVista])),
          (right) => right,
        ),
        thinking: mean(all, ({ thinking }) => thinking),
        malformed: mean(all, ({ wellFormed }) => !wellFormed),
      });
    },
  };
}

/** Another choice, or another number. */
function wrong({ answer, choices }: MathTruth): Pick<MathTruth, 'answer'> {
  if (choices.length === 0) return { answer: sameValue(answer, '0') ? '1' : '0' };
  return { answer: choices.find((choice) => !sameWords(choice, answer))! };
}

const mathVistaFields = z.object({
  question_type: z.enum(['multi_choice', 'free_form']),
  answer_type: z.enum(['text', 'integer', 'float', 'list']),
  /** Decimals, which numbers of that precision have at most 15 of. */
  precision: z.int().min(0).max(15).nullish(),
});

function parseTruth(sample: Sample): MathTruth {
  const solution = sample.solution.trim();
  const { choices, ...extra } = sample.extra;
  if (solution === '') return solutionFault(sample, 'the solution is empty', 'write the answer');
  const list = choicesOf(sample, choices ?? []);
  const answer = list.find((choice) => sameWords(choice, solution)) ?? solution;
  if (list.length > 0 && (!list.includes(answer) || list.every((choice) => sameWords(choice, answer)))) {
    return solutionFault(
      sample,
      `the solution ${JSON.stringify(answer)} is not one of several choices`,
      'write the text of a choice, not its letter',
    );
  }
  const truth = { answer, choices: list, mathVista: mathVistaOf(extra, list) };
  const content = boxedContent(boxed.forms[0]!.write(truth, []));
  if (hasTags(answer) || content === undefined || (list.length === 0 && !sameValue(content, answer))) {
    return solutionFault(
      sample,
      `the solution ${JSON.stringify(answer)} cannot stand in \\boxed{}`,
      'close every brace, and leave out <think>, <answer> and their ends',
    );
  }
  return truth;
}

function choicesOf(sample: Sample, choices: unknown): readonly string[] {
  if (Array.isArray(choices) && choices.every((choice) => typeof choice === 'string')) {
    return choices.map((choice) => choice.trim());
  }
  return solutionFault(sample, '"choices" is not a list of texts', 'write ["a", "b", ...]');
}

function mathVistaOf(extra: object, choices: readonly string[]): MathVistaQuestion | undefined {
  const { success, data } = mathVistaFields.safeParse(extra);
  if (!success) return undefined;
  const { question_type: questionType, answer_type: answerType, precision } = data;
  return { questionType, answerType, precision: precision ?? 0, choices };
}
