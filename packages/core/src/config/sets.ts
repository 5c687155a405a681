/** The sets that `data.train` names: one, or several of which a step draws by weight. */
import path from 'node:path';
import type { Config } from './schema.ts';

export interface TrainingSet {
  readonly file: string;
  /** Its share of the prompts that are drawn, over the sum of all weights. */
  readonly weight: number;
}

export const trainingSets = (train: Config['data']['train']): readonly [TrainingSet, ...TrainingSet[]] =>
  [train].flat().map((set) => (typeof set === 'string' ? { file: set, weight: 1 } : set)) as [TrainingSet];

/** `data.train` in a line, for messages. */
export const trainingName = (train: Config['data']['train']): string =>
  trainingSets(train)
    .map(({ file }) => file)
    .join(', ');

/** Place in the list of the first set that is named twice. */
export function twiceNamed(train: Config['data']['train']): number | undefined {
  const files = trainingSets(train).map(({ file }) => path.resolve(file));
  const place = files.findIndex((file, i) => files.indexOf(file) < i);
  return place < 0 ? undefined : place;
}
