/** Answers that another program gave: a JSON object a line, `{id, text, mask?, probability?}`. */
import { z } from 'zod';
import { readLines } from '../data/lines.ts';
import { messageOf, UserError } from '../errors.ts';
import type { Frame } from '../types.ts';
import type { Item, Said } from './benchmark.ts';
import { decodeRle, type Rle } from '../masks/masks.ts';

const MAX_LINE_BYTES = 64 * 2 ** 20;

const schema = z.looseObject({
  id: z.union([z.string(), z.number()]).transform(String),
  text: z.string().nullish(),
  mask: z
    .looseObject({
      size: z.tuple([z.int().positive(), z.int().positive()]),
      counts: z.union([z.string(), z.array(z.int().nonnegative())]),
    })
    .nullish(),
  probability: z.number().min(0).max(1).nullish(),
});

export interface Prediction extends Omit<Said, 'frame' | 'mask'> {
  readonly mask: Rle | undefined;
  /** File and line, for messages. */
  readonly where: string;
}

/** Boxes are pixels of the original picture: nothing is scaled. */
export const PIXELS: Frame = { width: 1, height: 1, modelWidth: 1, modelHeight: 1 };

const EXAMPLE =
  'A line is {"id": "...", "text": "...", "mask": {"size": [h, w], "counts": "..."}, "probability": 0.5}.';

/** @throws UserError that names the line, for one that is no prediction, or the second of an id */
export async function readPredictions(file: string): Promise<Map<string, Prediction>> {
  const predictions = new Map<string, Prediction>();
  for await (const { number, text, fault } of readLines(file, MAX_LINE_BYTES)) {
    const where = `${file}:${number}`;
    if (text === undefined) throw new UserError(fault ?? 'cannot be read', { where });
    if (text.trim() === '') continue;
    const prediction = readPrediction(text, where);
    const first = predictions.get(prediction.id);
    if (first) throw new UserError(`the id ${prediction.id} is also that of ${first.where}`, { where });
    predictions.set(prediction.id, prediction);
  }
  return predictions;
}

function readPrediction(text: string, where: string): Prediction & { readonly id: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError(`malformed JSON: ${messageOf(error)}`, { where, remedy: EXAMPLE });
  }
  const { success, data, error } = schema.safeParse(value);
  if (!success) {
    const [issue] = error.issues;
    throw new UserError(`${issue!.path.join('.') || 'the line'}: ${issue!.message}`, { where, remedy: EXAMPLE });
  }
  const { id, mask, probability } = data;
  if (typeof data.text !== 'string' && !mask && typeof probability !== 'number') {
    throw new UserError(`${id}: there is neither a text nor a mask nor a probability`, { where, remedy: EXAMPLE });
  }
  return { id, text: data.text ?? '', mask: mask ?? undefined, probability: probability ?? undefined, where };
}

/**
 * What was said to every question.
 * @throws UserError where a question has no prediction, or a prediction no question
 */
export function requireComplete(
  predictions: ReadonlyMap<string, Prediction>,
  items: readonly Item[],
  asked: readonly Item[],
  file: string,
): Prediction[] {
  const known = new Set(items.map(({ id }) => id));
  const stranger = [...predictions].find(([id]) => !known.has(id));
  if (stranger) {
    throw new UserError(`there is no question with the id ${stranger[0]}`, {
      where: stranger[1].where,
      remedy:
        'The ids are those of: --questions FILE.jsonl, with the same --benchmark, --data, --split and --protocol.',
    });
  }
  const missing = asked.filter(({ id }) => !predictions.has(id));
  if (missing.length > 0) {
    throw new UserError(
      `${missing.length} of ${asked.length} questions have no prediction, the first is ${missing[0]!.id}`,
      {
        where: file,
        remedy: 'Answer every question, with an empty text where nothing was said; --limit N asks only the first.',
      },
    );
  }
  return asked.map(({ id }) => predictions.get(id)!);
}

/** @throws UserError that names the line, for a mask that is damaged */
export function saidBy({ text, mask, probability, where }: Prediction): Said {
  try {
    return { text, frame: PIXELS, mask: mask && decodeRle(mask), probability };
  } catch (error) {
    throw inLine(error, where);
  }
}

/** A user's error with the place of the prediction that it is about. */
export const inLine = (error: unknown, where: string): unknown =>
  error instanceof UserError ? new UserError(error.reason, { where, remedy: error.remedy }) : error;
