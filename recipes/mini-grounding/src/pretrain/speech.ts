/** The language loss: which tokens of the lessons count how much, and what a number may be off by. */
import { tensor, type Tensor } from '@visurf/torch';

import { SIDE } from '../scenes.ts';
import { idOf, NUMBER_IDS } from '../vocabulary.ts';
import { indices } from './forward.ts';
import { valueOf, type Lesson } from './lessons.ts';

/** One token to be said, and what it counts. */
export interface Said {
  readonly lesson: Lesson;
  /** Index of the scene. */
  readonly scene: number;
  /** Its place among all tokens of all lessons. */
  readonly index: number;
  readonly target: number;
  readonly group: 'find' | 'imagine' | 'existsAnswer' | 'existsForm';
  /** Whether the auxiliary losses look at this state: the answer begins, a list opens, a number follows. */
  readonly watched: boolean;
}

const [yes, no, open] = [idOf('"yes"'), idOf('"no"'), idOf('[')];

/** Every token of the answers, in order; scenes of lessons. */
export function saidTokens(lessons: readonly (readonly Lesson[])[]): Said[] {
  const said: Said[] = [];
  let start = 0;
  lessons.forEach((ofScene, scene) => {
    for (const lesson of ofScene) {
      lesson.said.forEach((target, t) => {
        if (t >= lesson.questionLength)
          said.push({ lesson, scene, index: start + t, target, ...role(lesson, t, target) });
      });
      start += lesson.said.length;
    }
  });
  return said;
}

function role({ kind, read, questionLength }: Lesson, t: number, target: number): Pick<Said, 'group' | 'watched'> {
  const opens = t === questionLength || read[t - 1] === open;
  if (kind !== 'exists') return { group: kind, watched: opens || valueOf(target) !== undefined };
  return { group: target === yes || target === no ? 'existsAnswer' : 'existsForm', watched: opens };
}

export type GroupWeights = Readonly<Record<Said['group'], number>>;

const numbers = SIDE + 1;

/** [numbers, numbers]: each row a bell curve around its number, as a share. */
function bells(deviation: number): Tensor {
  const rows = Array.from({ length: numbers }, (_, center) => {
    const row = Array.from({ length: numbers }, (_, value) =>
      Math.exp(-((value - center) ** 2) / (2 * deviation ** 2)),
    );
    const sum = row.reduce((a, b) => a + b, 0);
    return row.map((value) => value / sum);
  });
  return tensor(rows);
}

function distances(): Tensor {
  return tensor(Array.from({ length: numbers }, (_, a) => Array.from({ length: numbers }, (_, b) => Math.abs(a - b))));
}

export interface SpeechLoss {
  readonly loss: Tensor;
  /** Mean cross-entropy of the tokens of `find` lessons. */
  readonly find: Tensor;
  /** Mean over numbers of `find` lessons of the expected distance of a sample from the truth, in pixels. */
  readonly distance: Tensor;
  /** Share of yes/no questions in which the right answer is the more likely one. */
  readonly existsAccuracy: number;
}

/**
 * Sum over groups of weight * mean cross-entropy. A number's target is a bell curve around it (`blur`); `distance` is
 * the weight of the expected distance, which makes samples as exact as greedy answers are.
 * @param logits [said.length, V]
 */
export function speechLoss(
  logits: Tensor,
  said: readonly Said[],
  weights: GroupWeights,
  { blur, distance }: { blur: number; distance: number },
): SpeechLoss {
  const logProbs = logits.logSoftmax(-1);
  const hard = logProbs
    .gather(1, indices(said.map(({ target }) => target)).unsqueeze(1))
    .squeeze(1)
    .neg();

  const counts = Map.groupBy(said, ({ group }) => group);
  const share = ({ group }: Said): number => weights[group] / (counts.get(group)?.length ?? 1);
  const isNumber = (each: Said): boolean => valueOf(each.target) !== undefined;
  const numberRows = said.flatMap((each, row) => (isNumber(each) ? [row] : []));
  const ofNumbers = <T>(of: (each: Said) => T): T[] => said.filter(isNumber).map(of);
  const values = indices(ofNumbers(({ target }) => valueOf(target) ?? 0));
  const onNumbers = logProbs.indexSelect(0, indices(numberRows)).indexSelect(1, indices(NUMBER_IDS));
  const soft = bells(blur).indexSelect(0, values).mul(onNumbers).sum(-1).neg();

  const weighted = (take: (each: Said) => number): Tensor =>
    hard
      .mul(tensor(said.map((each) => (isNumber(each) ? 0 : take(each)))))
      .sum()
      .add(soft.mul(tensor(ofNumbers(take))).sum());
  const expected = onNumbers.softmax(-1).mul(distances().indexSelect(0, values)).sum(-1);
  const found = ofNumbers(({ group }) => Number(group === 'find'));
  const meanDistance = expected
    .mul(tensor(found))
    .sum()
    .div(Math.max(1, found.filter((each) => each > 0).length));
  const findCount = counts.get('find')?.length ?? 1;
  const loss = weighted(share);
  return {
    loss: distance > 0 ? loss.add(meanDistance.mul(distance)) : loss,
    find: weighted(({ group }) => Number(group === 'find') / findCount),
    distance: meanDistance,
    existsAccuracy: existsAccuracy(logits, said),
  };
}

function existsAccuracy(logits: Tensor, said: readonly Said[]): number {
  const rows = said.flatMap(({ group }, row) => (group === 'existsAnswer' ? [row] : []));
  const pairs = logits
    .detach()
    .indexSelect(0, indices(rows))
    .indexSelect(1, indices([yes, no]))
    .toArray();
  const right = rows.filter((row, i) => (pairs[2 * i] ?? 0) > (pairs[2 * i + 1] ?? 0) === (said[row]?.target === yes));
  return right.length / Math.max(1, rows.length);
}
