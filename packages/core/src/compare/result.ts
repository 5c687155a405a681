/** What is kept of one policy of a comparison: `results/<run>-seed-<seed>.json`, small enough to be committed. */
import { existsSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { z } from 'zod';

import { messageOf, UserError } from '../errors.ts';
import { readText } from '../regular.ts';
import { setOf } from '../eval/summary.ts';
import type { EvaluatedSample } from '../eval/evaluate.ts';
import { replaceFile } from '../disk/durable.ts';
import type { Evaluation } from '../tasks/task.ts';
import { curvesSchema } from './curves.ts';

/** One answer: whose it is, and what was noted about it. */
export interface Answered {
  readonly id: string;
  readonly task: string;
  readonly set: string;
  readonly evaluation: Evaluation;
}

const schema = z.strictObject({
  run: z.string(),
  seed: z.int().min(0),
  /** sha256 of all that decides the result: the configuration without its output, and the held-out files. */
  hash: z.string(),
  steps: z.int().min(0),
  /** Seconds of training, by phase. */
  seconds: z.record(z.string(), z.number()),
  /** Percent, by file. */
  metrics: z.record(z.string(), z.record(z.string(), z.number())),
  curves: curvesSchema,
  /** Answers by file: gzip of JSON, as base64. */
  answers: z.record(z.string(), z.string()),
});

export type StoredResult = Omit<z.output<typeof schema>, 'answers'> & {
  readonly answers: Readonly<Record<string, readonly Answered[]>>;
};

/** Bytes of JSON that are unpacked from a file, at most. */
const maxBytes = 1 << 28;

const sampledSchema = z.strictObject({
  run: z.string(),
  hash: z.string(),
  /** Questions by file. */
  questions: z.record(
    z.string(),
    z.array(
      z.strictObject({
        id: z.string(),
        set: z.string(),
        answers: z.int(),
        passes: z.int(),
        thinking: z.number(),
        length: z.number(),
      }),
    ),
  ),
});

const paceSchema = z.record(z.string(), z.strictObject({ hash: z.string(), seconds: z.number().positive() }));

/** Seconds per update by run, and what decided them: `results/pace.json`. */
export type Pace = z.output<typeof paceSchema>;

/** What is kept of many sampled answers: `results/<run>-sampled.json`. */
export type SampledResult = z.output<typeof sampledSchema>;

export function answersOf(samples: readonly EvaluatedSample[]): Answered[] {
  return samples.map(({ sample, evaluation }) => ({
    id: sample.id,
    task: sample.task,
    set: setOf(sample),
    evaluation,
  }));
}

export function writeResult(file: string, { answers, ...result }: StoredResult): void {
  const packed = Object.fromEntries(
    Object.entries(answers).map(([name, all]) => [name, gzipSync(JSON.stringify(all)).toString('base64')]),
  );
  const text = JSON.stringify({ ...result, answers: packed }, undefined, 1);
  // Lists of numbers stand on one line.
  const lines = text.replaceAll(/\[\n[^[\]{}"]*\]/g, (list) => list.replaceAll(/\s+/g, ' '));
  replaceFile(file, `${lines}\n`);
}

/** Undefined where there is none. @throws UserError where the file cannot be read */
export const readResult = (file: string): StoredResult | undefined =>
  readJson(file, (json) => {
    const { answers, ...result } = schema.parse(json);
    const unpacked = Object.entries(answers).map(([name, text]) => {
      const packed = gunzipSync(Buffer.from(text, 'base64'), { maxOutputLength: maxBytes }).toString();
      return [name, JSON.parse(packed) as Answered[]] as const;
    });
    return { ...result, answers: Object.fromEntries(unpacked) };
  });

export const writeSampled = (file: string, result: SampledResult): void => replaceFile(file, JSON.stringify(result));

/** Likewise. */
export const readSampled = (file: string): SampledResult | undefined =>
  readJson(file, (json) => sampledSchema.parse(json));

export const writePace = (file: string, pace: Pace): void =>
  replaceFile(file, `${JSON.stringify(pace, undefined, 1)}\n`);

/** Likewise. */
export const readPace = (file: string): Pace | undefined => readJson(file, (json) => paceSchema.parse(json));

function readJson<T>(file: string, read: (json: unknown) => T): T | undefined {
  if (!existsSync(file)) return undefined;
  try {
    return read(JSON.parse(readText(file)));
  } catch (error) {
    const remedy = 'Remove the file: what it held will be measured again.';
    throw new UserError(`not a result of a comparison: ${messageOf(error)}`, { where: file, remedy });
  }
}
