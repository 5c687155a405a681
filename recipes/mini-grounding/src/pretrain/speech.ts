/** The language loss: which tokens of the lessons count how much, and what a number may be off by. */
import { tensor, type Tensor } from '@visurf/torch';

import { idOf } from '../vocabulary.ts';
import { indices } from './forward.ts';
import { valueOf, type Lesson } from './lessons.ts';

type Group = 'find' | 'imagine' | 'existsAnswer' | 'existsForm';

/** One token of a lesson. */
export interface Said extends Spoken<Group> {
  readonly lesson: Lesson;
  /** Index of the scene. */
  readonly scene: number;
  /** Its place among all tokens of all lessons. */
  readonly index: number;
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

type Role = Omit<Said, 'lesson' | 'scene' | 'index' | 'target'>;

function role({ kind, read, questionLength }: Lesson, t: number, target: number): Role {
  const opens = t === questionLength || read[t - 1] === open;
  const pixel = valueOf(target);
  if (kind !== 'exists')
    return { group: kind, pixel, measured: kind === 'find', watched: opens || pixel !== undefined };
  const group = target === yes || target === no ? 'existsAnswer' : 'existsForm';
  return { group, pixel, measured: false, watched: opens };
}

/** One token to be said by anyone, and what it counts. */
export interface Spoken<Group extends string = string> {
  readonly target: number;
  readonly group: Group;
  /** What a number that is a coordinate stands for. */
  readonly pixel: number | undefined;
  /** Whether the distance of a sampled coordinate from the true one is a loss. */
  readonly measured: boolean;
}

/** [numbers, numbers]: each row a bell curve around its number, as a share. */
function bells(numbers: number, deviation: number): Tensor {
  const rows = Array.from({ length: numbers }, (_, center) => {
    const row = Array.from({ length: numbers }, (_, value) =>
      Math.exp(-((value - center) ** 2) / (2 * deviation ** 2)),
    );
    const sum = row.reduce((a, b) => a + b, 0);
    return row.map((value) => value / sum);
  });
  return tensor(rows);
}

function distances(numbers: number): Tensor {
  return tensor(Array.from({ length: numbers }, (_, a) => Array.from({ length: numbers }, (_, b) => Math.abs(a - b))));
}

export interface SpeechLoss<Group extends string> {
  readonly loss: Tensor;
  /** Mean cross-entropy of the tokens of a group. */
  mean(group: Group): Tensor;
  /** Mean over the measured coordinates of the expected distance of a sample from the truth, in pixels. */
  readonly distance: Tensor;
}

export interface Sharpness {
  /** Standard deviation in pixels of the bell curve that is a coordinate's target. */
  readonly blur: number;
  /** Weight of the expected distance, which makes samples as exact as greedy answers are. */
  readonly distance: number;
}

/**
 * Sum over groups of weight * mean cross-entropy.
 * @param logits [said.length, V]
 * @param numberIds by pixel: the token of its number
 */
export function speechLoss<Group extends string>(
  logits: Tensor,
  said: readonly Spoken<Group>[],
  weights: Readonly<Record<Group, number>>,
  numberIds: readonly number[],
  { blur, distance }: Sharpness,
): SpeechLoss<Group> {
  const logProbs = logits.logSoftmax(-1);
  const hard = logProbs
    .gather(1, indices(said.map(({ target }) => target)).unsqueeze(1))
    .squeeze(1)
    .neg();

  const counts = Map.groupBy(said, ({ group }) => group);
  const share = ({ group }: Spoken<Group>): number => weights[group] / (counts.get(group)?.length ?? 1);
  const isNumber = (each: Spoken<Group>): boolean => each.pixel !== undefined;
  const numberRows = said.flatMap((each, row) => (isNumber(each) ? [row] : []));
  const ofNumbers = <T>(of: (each: Spoken<Group>) => T): T[] => said.filter(isNumber).map(of);
  const values = indices(ofNumbers(({ pixel }) => pixel ?? 0));
  const onNumbers = logProbs.indexSelect(0, indices(numberRows)).indexSelect(1, indices(numberIds));
  const soft = bells(numberIds.length, blur).indexSelect(0, values).mul(onNumbers).sum(-1).neg();

  const weighted = (take: (each: Spoken<Group>) => number): Tensor =>
    hard
      .mul(tensor(said.map((each) => (isNumber(each) ? 0 : take(each)))))
      .sum()
      .add(soft.mul(tensor(ofNumbers(take))).sum());
  const expected = onNumbers.softmax(-1).mul(distances(numberIds.length).indexSelect(0, values)).sum(-1);
  const found = ofNumbers(({ measured }) => Number(measured));
  const meanDistance = expected
    .mul(tensor(found))
    .sum()
    .div(Math.max(1, found.filter((each) => each > 0).length));
  const loss = weighted(share);
  return {
    loss: distance > 0 ? loss.add(meanDistance.mul(distance)) : loss,
    mean: (wanted) => weighted(({ group }) => Number(group === wanted) / (counts.get(wanted)?.length ?? 1)),
    distance: meanDistance,
  };
}

/** Share of yes/no questions in which the right answer is the more likely one. */
export function existsAccuracy(logits: Tensor, said: readonly Said[]): number {
  const rows = said.flatMap(({ group }, row) => (group === 'existsAnswer' ? [row] : []));
  const pairs = logits
    .detach()
    .indexSelect(0, indices(rows))
    .indexSelect(1, indices([yes, no]))
    .toArray();
  const right = rows.filter((row, i) => (pairs[2 * i] ?? 0) > (pairs[2 * i + 1] ?? 0) === (said[row]?.target === yes));
  return right.length / Math.max(1, rows.length);
}
