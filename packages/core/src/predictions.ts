/** `visurf predict`: answers to many questions, a line each, that go on where they were stopped. */
import { existsSync, readFileSync, realpathSync, statSync, truncateSync } from 'node:fs';
import path from 'node:path';

import { askedRows, type AskedRow, type AskedSource } from './answers/asked.ts';
import { drawingName, drawPicture } from './answers/draw.ts';
import { evaluatedTogether } from './budgets.ts';
import { AppendOnly, makeDirectory } from './disk/durable.ts';
import { SetAside } from './disk/set-aside.ts';
import { fileError, UserError } from './errors.ts';
import { openModel, type OpenOptions } from './opened.ts';
import { predict, type Predicted } from './predict.ts';
import { decodeImage } from './prompt/decode.ts';

export interface PredictionsOptions extends Omit<OpenOptions, 'onProgress'>, AskedSource {
  readonly model: string;
  /** JSONL file; what it holds already is not asked again. */
  readonly output?: string | undefined;
  /** Folder for the pictures with what was found. */
  readonly draw?: string | undefined;
  /** A drawing took the place of another picture, which is kept as a copy, and this hears of both. */
  readonly onKept?: ((file: string, copy: string) => void) | undefined;
  /** Pictures that cannot be read are left out, and this hears of them; unset: they are an error. */
  readonly onSkip?: ((message: string) => void) | undefined;
  readonly onLine?: ((line: PredictionLine) => void) | undefined;
  readonly onProgress?: ((what: 'pictures' | 'answers', done: number, total: number) => void) | undefined;
  readonly onDownload?: OpenOptions['onProgress'];
  /** Hears where settings were taken from, before the model answers. */
  readonly onOrigins?: ((lines: readonly string[]) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A line of the output: boxes and points in pixels of the picture as a viewer shows it. */
export interface PredictionLine extends Pick<Predicted, 'text' | 'boxes' | 'answer'> {
  readonly id?: string;
  readonly image: string;
  readonly problem: string;
  readonly points?: Predicted['points'];
}

export interface Predictions {
  /** All lines, those that were there before included. */
  readonly n: number;
  /** Lines that were there before. */
  readonly before: number;
  /** Answers that were cut off, of those that were made now. */
  readonly cutOff: number;
  /** The longest answer, in tokens. */
  readonly maxNewTokens: number;
  readonly output?: string;
  readonly draw?: string;
}

/** @throws UserError for a bad model, a picture that cannot be read, or an output that holds something else */
export async function predictAll(options: PredictionsOptions): Promise<Predictions> {
  const { draw, onKept, signal, onSkip, onProgress, onLine, onDownload } = options;
  const output = options.output === undefined ? undefined : path.resolve(options.output);
  const all = await askedRows(options);
  const [first] = all;
  if (!first) throw new UserError('there is nothing to predict');
  // Whether the model is there is known sooner than whether all pictures are.
  const {
    policy: loaded,
    experiment,
    origins,
  } = await openModel(options.model, { ...options, onProgress: onDownload });
  using policy = loaded;
  options.onOrigins?.(origins);
  for (const task of new Set(all.flatMap(({ task }) => task ?? []))) experiment.taskOf(task);
  const rows = await readable(all, {
    onSkip,
    signal,
    onProgress: (done, total) => onProgress?.('pictures', done, total),
  });
  const before = output === undefined ? 0 : continued(output, rows);
  const drawings = draw === undefined ? [] : drawingNames(rows, options).map((name) => path.resolve(draw, name));
  requireApart(drawings, rows);
  const { maxNewTokens } = experiment.settings;
  const log = output === undefined ? undefined : opened(output);
  let [n, cutOff] = [before, 0];
  try {
    onProgress?.('answers', n, rows.length);
    for (let start = before; start < rows.length; start += evaluatedTogether) {
      signal?.throwIfAborted();
      const batch = rows.slice(start, start + evaluatedTogether);
      const answers = await Promise.all(
        batch.map(({ files: images, ...row }) => predict(policy, { ...row, images }, { experiment, signal })),
      );
      for (const [i, { id, image, problem, files }] of batch.entries()) {
        const { text, boxes, points, answer, stop } = answers[i]!;
        const drawing = drawings[start + i];
        if (drawing !== undefined && files[0] !== undefined) {
          const aside = existsSync(drawing) ? new SetAside(drawing) : undefined;
          await drawPicture(files[0], drawing, { boxes, points });
          if (aside?.settle()) onKept?.(drawing, aside.copy);
        }
        const line: PredictionLine = {
          ...(id !== undefined && { id }),
          ...{ image, problem, text, boxes },
          ...(points.length > 0 && { points }),
          ...(answer !== undefined && { answer }),
        };
        log?.append(line);
        onLine?.(line);
        n += 1;
        if (stop === 'length') cutOff += 1;
      }
      onProgress?.('answers', n, rows.length);
    }
  } finally {
    log?.close();
  }
  return {
    n,
    before,
    cutOff,
    maxNewTokens,
    ...(output !== undefined && { output }),
    ...(draw !== undefined && { draw }),
  };
}

interface Reading {
  readonly onSkip: PredictionsOptions['onSkip'];
  readonly onProgress: (done: number, total: number) => void;
  readonly signal: AbortSignal | undefined;
}

/** Pictures that are read at the same time. */
const AT_ONCE = 4;
const LISTED = 20;

/** Rows whose pictures can be read: a damaged one is found before hours of work, not after them. */
async function readable(
  rows: readonly AskedRow[],
  { onSkip, onProgress, signal }: Reading,
): Promise<readonly AskedRow[]> {
  const files = [...new Set(rows.flatMap((row) => row.files))];
  const faults = new Map<string, string>();
  for (let start = 0; start < files.length; start += AT_ONCE) {
    signal?.throwIfAborted();
    await Promise.all(
      files.slice(start, start + AT_ONCE).map(async (file) => {
        try {
          await decodeImage(file);
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
          faults.set(file, error.message);
        }
      }),
    );
    onProgress(Math.min(files.length, start + AT_ONCE), files.length);
  }
  if (faults.size === 0) return rows;
  const more = faults.size > LISTED ? [`... and ${faults.size - LISTED} more`] : [];
  const said = [...[...faults.values()].slice(0, LISTED), ...more].join('\n');
  const kept = rows.filter((row) => !row.files.some((file) => faults.has(file)));
  if (!onSkip || kept.length === 0) {
    throw new UserError(said, { remedy: 'Mend or remove these pictures, or leave them out with --skip-bad.' });
  }
  onSkip(said);
  return kept;
}

/** Lines that an output holds of these questions; a line that was cut off is removed. @throws UserError for other lines */
function continued(output: string, rows: readonly AskedRow[]): number {
  if (!existsSync(output) || !statSync(output).isFile()) return 0;
  const bytes = readFileSync(output);
  const whole = bytes.lastIndexOf(0x0a) + 1;
  const lines = bytes.toString('utf8', 0, whole).split('\n').slice(0, -1);
  for (const [i, line] of lines.entries()) {
    if (isAnswerTo(rows[i], line)) continue;
    throw new UserError(
      `is no answer to ${rows[i] ? `"${rows[i].problem}" about ${rows[i].image}` : 'what is asked'}`,
      {
        where: `${output}:${i + 1}`,
        remedy: 'The file holds something else: remove it, or choose another output.',
      },
    );
  }
  if (whole < bytes.length) truncateSync(output, whole);
  return lines.length;
}

/** @throws UserError where a drawing would take the place of a picture that is asked about */
function requireApart(drawings: readonly string[], rows: readonly AskedRow[]): void {
  const asked = new Set(rows.flatMap(({ files }) => files.map((file) => realpathSync(file))));
  const source = drawings.find((file) => existsSync(file) && asked.has(realpathSync(file)));
  if (source === undefined) return;
  throw new UserError('is a picture that is asked about: its drawing would take its place', {
    where: source,
    remedy: 'Choose another folder for --draw.',
  });
}

function isAnswerTo(row: AskedRow | undefined, line: string): boolean {
  try {
    const { id, image, problem } = JSON.parse(line) as Partial<PredictionLine>;
    return row !== undefined && id === row.id && image === row.image && problem === row.problem;
  } catch {
    return false;
  }
}

function opened(output: string): AppendOnly {
  try {
    makeDirectory(path.dirname(output));
    return new AppendOnly(output);
  } catch (error) {
    throw fileError(error, { where: output, remedy: 'Choose another output.' });
  }
}

/** Names of drawings, one for every row; a picture that is asked about again has a number. */
function drawingNames(rows: readonly AskedRow[], { folder, data }: AskedSource): string[] {
  const root = folder ?? (data === undefined ? undefined : path.dirname(data));
  const seen = new Map<string, number>();
  return rows.map(({ files: [file = ''] }) => {
    const relative = root === undefined ? path.basename(file) : path.relative(path.resolve(root), file);
    // What lies elsewhere keeps its name alone: nothing is written outside of the folder of drawings.
    const name = drawingName(relative.startsWith('..') || path.isAbsolute(relative) ? path.basename(file) : relative);
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    const extension = path.extname(name);
    return times === 1 ? name : `${name.slice(0, -extension.length)}-${times}${extension}`;
  });
}
