/** What was found in a file of lines, remembered by what it holds: the next start reads its bytes and nothing else of it. */
import path from 'node:path';
import { z } from 'zod';
import { DataCache, entryName } from './cache.ts';
import type { DatasetOptions } from './dataset.ts';
import type { Finding } from './findings.ts';
import type { ImageCheck, Images } from './images.ts';
import type { LineIndex } from './line-index.ts';
import { paced } from './paced.ts';
import type { DataPrint } from './print.ts';
import { tasksOf, type ReadRows, type TaskSamples } from './rows.ts';
import { LineSamples, type LineParser } from './samples.ts';
import type { Numbers } from './texts.ts';
import type { Samples } from '../types.ts';

/** Changes when what is found in a file does. */
const VERSION = 3;
/** Faults, and samples that tasks want to see, beyond which nothing is remembered. */
const MOST = 10_000;

const count = z.int().nonnegative();
const hash = z.string().regex(/^[\da-f]{64}$/);
const schema = z.object({
  /** Where the file was; findings name it. */
  file: z.string(),
  findings: z.array(z.custom<Finding>((value) => typeof value === 'object' && value !== null)),
  /** Places of lines that are no samples. */
  left: z.array(count),
  /** Places of samples that tasks want to see. */
  told: z.array(z.tuple([z.string(), z.array(count)])),
  print: z.object({ file: z.string(), samples: count, sha256: hash, unordered: hash }),
});

/** Lines with what they are, the source that they are of, absolute, and the folder of the data. */
export interface ReadLines {
  readonly file: string;
  readonly lines: LineIndex;
  readonly parse: LineParser;
  readonly home: string;
}

export interface Outcome {
  readonly samples: Samples;
  readonly findings: readonly Finding[];
  readonly print: DataPrint;
}

const nameOf = (key: readonly unknown[]): string => entryName('checked', VERSION, ...key);

/** The outcome of an earlier check of the same file under the same key, where the images are what they were then. */
export async function rememberedOutcome(
  { file, lines, parse, home }: ReadLines,
  images: Images,
  key: readonly unknown[],
  { signal, onProgress, territory }: Pick<DatasetOptions, 'signal' | 'onProgress'> & Pick<ImageCheck, 'territory'>,
): Promise<(Outcome & { readonly tasks: TaskSamples }) | undefined> {
  let head: z.output<typeof schema> | undefined;
  try {
    await paced(
      new DataCache(home).lines(nameOf(key)),
      (line, i) => {
        if (i === 0) head = schema.parse(JSON.parse(line));
        else images.name(path.resolve(home, JSON.parse(line) as string));
      },
      { signal },
    );
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
  if (!head || (head.findings.length > 0 && head.file !== file)) return undefined;
  // Other images than those that the data names are remembered, too.
  const looked = (done: number): void => onProgress?.('images', Math.min(done, images.size), images.size);
  if (!(await images.areAsRemembered({ signal, territory, onProgress: looked }))) return undefined;
  const left = new Set(head.left);
  const kept = left.size === 0 ? lines : lines.pick([...Array(lines.length).keys()].filter((i) => !left.has(i)));
  const samples = new LineSamples(kept, parse);
  if (samples.length !== head.print.samples) return undefined;
  return { samples, findings: head.findings, print: head.print, tasks: tasksOf(samples, new Map(head.told)) };
}

/** Keeps an outcome. One with more faults than anybody reads is found out again. */
export async function rememberOutcome(
  { file, home }: ReadLines,
  images: Images,
  key: readonly unknown[],
  { findings, print, told, left }: Outcome & Pick<ReadRows, 'told'> & { readonly left: Numbers },
  signal: AbortSignal | undefined,
): Promise<void> {
  const wanted = [...told.values()].reduce((sum, { length }) => sum + length, 0);
  if (Math.max(findings.length, left.size, wanted) > MOST) return;
  const head: z.output<typeof schema> = {
    ...{ file, findings: [...findings], left: [...left.values], print },
    told: [...told].map(([task, places]) => [task, Array.from(places)]),
  };
  const text = [`${JSON.stringify(head)}\n`];
  await paced(images.names(), (name) => void text.push(`${JSON.stringify(path.relative(home, name))}\n`), { signal });
  new DataCache(home).write(nameOf(key), text.join(''));
}
