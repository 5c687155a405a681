/**
 * `visurf eval --benchmark`: questions of a published benchmark, answered by a model or by another program, and marked.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

import { benchmarkOf } from './benchmarks/registry.ts';
import type { Benchmark, Item, Marks, Protocol } from './benchmarks/benchmark.ts';
import { drawn } from './benchmarks/answers.ts';
import { probabilityOfYes, verdicts } from './benchmarks/likelihood.ts';
import { loadMirror, mirrorFiles } from './benchmarks/mirror.ts';
import { inLine, readPredictions, requireComplete, saidBy } from './benchmarks/predictions.ts';
import { evaluatedTogether } from './budgets.ts';
import { fileError, UserError } from './errors.ts';
import { readText } from './regular.ts';
import { requireLibrary } from './masks/exported.ts';
import { encodeRle, type Mask } from './masks/masks.ts';
import { segmenterOf } from './masks/segmenter.ts';
import { openEither, type OpenOptions } from './opened.ts';
import type { Policy } from './policy.ts';
import type { PromptEncoder } from './prompt/encoder.ts';
import type { Experiment } from './question/experiment.ts';
import { greedy } from './rollout/sampler.ts';
import type { AnsweredBy } from './servers/open.ts';
import { AppendOnly, assertWritable, makeDirectory, replaceFile, writeAside } from './disk/durable.ts';
import type { Frame, Prompt, StopReason } from './types.ts';

interface BenchmarkOptions {
  readonly benchmark: string;
  /** Folder of the benchmark, as its authors publish it. */
  readonly data: string;
  readonly split?: string | undefined;
  /** Unset: `official`. */
  readonly protocol?: Protocol | undefined;
  /** Only so many questions, from the first. */
  readonly limit?: number | undefined;
}

export interface PredictionOptions extends BenchmarkOptions {
  /** JSONL file of `{id, text, mask?, probability?}`. */
  readonly predictions: string;
  /** JSONL file for the marks of every answer; unset: `eval/BENCHMARK-SPLIT/PREDICTIONS` here. */
  readonly output?: string | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface ModelBenchmarkOptions extends BenchmarkOptions, Omit<OpenOptions, 'onProgress'> {
  readonly model: string;
  /** Servers that answer in its place. */
  readonly by?: AnsweredBy | undefined;
  /** JSONL file for the answer to every question; unset: `eval/MODEL/BENCHMARK-SPLIT.jsonl` here. */
  readonly output?: string | undefined;
  /** Answers that the output holds already, to the same questions by the same model, are not asked for again. */
  readonly resume?: boolean | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly onDownload?: OpenOptions['onProgress'];
  readonly onOrigins?: ((lines: readonly string[]) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface BenchmarkResult {
  readonly benchmark: string;
  readonly split: string;
  readonly protocol: Protocol;
  /** In percent; null where one is undefined for these questions. */
  readonly metrics: Readonly<Record<string, number | null>>;
  readonly n: number;
  /** The file of answers and marks. */
  readonly perSample: string;
  /** Where figures depart from the protocol. */
  readonly notes: readonly string[];
}

/** The questions of a split, and those of them that are asked. */
interface Loaded {
  readonly benchmark: Benchmark;
  readonly split: string;
  readonly protocol: Protocol;
  readonly items: readonly Item[];
  readonly asked: readonly Item[];
}

async function open({
  benchmark: name,
  data,
  split: given,
  protocol = 'official',
  limit,
}: BenchmarkOptions): Promise<Loaded> {
  const benchmark = benchmarkOf(name);
  const split = given ?? benchmark.splits[0]!;
  if (!benchmark.splits.includes(split)) {
    const remedy = `Choose one of: ${benchmark.splits.join(', ')}.`;
    throw new UserError(`${name} has no split "${split}"`, { where: '--split', remedy });
  }
  const files = mirrorFiles(data, split);
  const items =
    files.length > 0
      ? await loadMirror(files, benchmark, { split, protocol }, path.resolve('eval', `${name}-${split}-pictures`))
      : await benchmark.load(data, { split, protocol });
  if (items.length === 0) throw new UserError(`there is no question of the split ${split}`, { where: data });
  const ids = new Set(items.map(({ id }) => id));
  if (ids.size < items.length) throw new UserError('two questions have one id', { where: data });
  const asked = items.filter(({ truth }) => typeof truth === 'function' || (benchmark.asks?.(truth, protocol) ?? true));
  return { benchmark, split, protocol, items, asked: asked.slice(0, limit) };
}

/** What marks an answer, read now where it was not kept. */
const truthOf = async (truth: Item['truth']): Promise<unknown> =>
  typeof truth === 'function' ? await (truth as () => Promise<unknown>)() : truth;

/** Pictures of a mirror are written out. @throws UserError that names the first picture that is not there */
async function requireImages(asked: readonly Item[]): Promise<void> {
  for (const { images, picture } of asked) {
    const [file] = images;
    if (!picture || file === undefined || existsSync(file)) continue;
    makeDirectory(path.dirname(file));
    // Whole or not at all: the next start takes what is there for the picture.
    writeAside(file, await picture());
  }
  const missing = new Set(asked.flatMap(({ images }) => images).filter((file) => !existsSync(file)));
  const [first] = missing;
  if (first === undefined) return;
  throw new UserError(`${missing.size} pictures of the benchmark are missing, this is the first`, {
    where: first,
    remedy: `Download the pictures of the benchmark, so that they are in ${path.dirname(first)}.`,
  });
}

/** Replaces a file of lines. @throws UserError */
function writeLines(file: string, lines: readonly unknown[]): void {
  try {
    makeDirectory(path.dirname(file));
    replaceFile(file, linesOf(lines));
  } catch (error) {
    throw fileError(error, { where: file, remedy: 'Choose another output.' });
  }
}

const linesOf = (lines: readonly unknown[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join('');

/**
 * Writes what would be asked, a line `{id, images, problem, task}` a question.
 * @returns how many there are
 * @throws UserError for a folder that is not complete
 */
export async function writeQuestions(options: BenchmarkOptions & { readonly questions: string }): Promise<number> {
  const { benchmark, protocol, asked } = await open(options);
  await requireImages(asked);
  const file = path.resolve(options.questions);
  const task = benchmark.task(protocol);
  writeLines(
    file,
    asked.map(({ id, images, problem }) => ({ id, images, problem, task })),
  );
  return asked.length;
}

/** Marks answers of another program. @throws UserError for a folder or predictions that cannot be used */
export async function scorePredictions(options: PredictionOptions): Promise<BenchmarkResult> {
  const { predictions: file, output, onProgress } = options;
  const loaded = await open(options);
  const { benchmark, split, protocol, items, asked } = loaded;
  const given = requireComplete(await readPredictions(file), items, asked, file);
  const perSample = path.resolve(output ?? path.join('eval', `${benchmark.name}-${split}`, path.basename(file)));
  if (perSample === path.resolve(file))
    throw new UserError('the predictions would be overwritten', { where: perSample, remedy: 'Choose another output.' });
  try {
    assertWritable(perSample);
  } catch (error) {
    throw fileError(error, { where: perSample, remedy: 'Choose another output.' });
  }
  const marks: Marks[] = [];
  for (const [i, { id, truth }] of asked.entries()) {
    const prediction = given[i]!;
    try {
      marks.push(await benchmark.mark(saidBy(prediction), await truthOf(truth), protocol));
    } catch (error) {
      throw inLine(error, `${prediction.where} (${id})`);
    }
    onProgress?.(marks.length, asked.length);
  }
  writeLines(
    perSample,
    asked.map(({ id }, i) => ({ id, text: given[i]!.text, ...marks[i] })),
  );
  return resultOf(loaded, marks, perSample);
}

function resultOf({ benchmark, split, protocol }: Loaded, marks: readonly Marks[], perSample: string): BenchmarkResult {
  const { metrics, notes } = benchmark.summarise(marks, protocol);
  return { benchmark: benchmark.name, split, protocol, metrics, n: marks.length, perSample, notes };
}

/** An answer as the file keeps it, with what it is an answer to. */
interface Kept {
  readonly id: string;
  /** Hash of everything that decides the answer. */
  readonly asked: string;
  readonly text: string;
  readonly stop: StopReason;
  readonly frame: Frame;
  /** Probability of "yes", where the benchmark is scored by it. */
  readonly probability?: number | undefined;
}

const keptSchema = z.looseObject({
  ...{ id: z.string(), asked: z.string(), text: z.string(), stop: z.enum(['eos', 'length']) },
  probability: z.number().optional(),
  frame: z.object({ width: z.number(), height: z.number(), modelWidth: z.number(), modelHeight: z.number() }),
});

/** Answers of a file; a line that was cut off is none. */
function keptAnswers(file: string): Map<string, Kept> {
  if (!existsSync(file)) return new Map();
  const lines = readText(file).split('\n');
  const kept = lines.flatMap((line): Kept[] => {
    try {
      const { id, asked, text, stop, frame, probability } = keptSchema.parse(JSON.parse(line));
      return [{ id, asked, text, stop, frame, probability }];
    } catch {
      return [];
    }
  });
  return new Map(kept.map((each) => [each.asked, each]));
}

/** The longest answer of the published evaluation. */
const PUBLISHED_TOKENS = 2048;
/** The side of its pictures, where answers are places in them. */
const PUBLISHED_SIDE = 840;
const PLACES = ['grounding', 'box', 'click'];

/** A name for the answers of a model: the end of its path. */
const nameOf = (model: string): string => path.resolve(model).split(path.sep).filter(Boolean).slice(-2).join('-');

/**
 * Greedy answers of a model, as it was trained to be asked, and their marks. Answers are in the output as soon as they
 * are given.
 * @throws UserError for a bad checkpoint, or a folder that is not complete
 */
export async function runBenchmark(options: ModelBenchmarkOptions): Promise<BenchmarkResult> {
  const { model, resume = false, onProgress, onDownload, signal } = options;
  const loaded = await open(options);
  const { benchmark, split, protocol, asked } = loaded;
  await requireImages(asked);
  const perSample = path.resolve(
    options.output ?? path.join('eval', nameOf(model), `${benchmark.name}-${split}.jsonl`),
  );
  const kept = resume ? keptAnswers(perSample) : new Map<string, Kept>();
  const task = options.task ?? benchmark.task(protocol);
  // The published prompt asks for boxes and points.
  const published = protocol === 'visurf' && ['grounding', 'box'].includes(task) ? ['points=true'] : [];
  const {
    policy: opened,
    experiment,
    origins,
  } = await openEither(model, options.by, {
    ...options,
    task,
    maxNewTokens: options.maxNewTokens ?? (protocol === 'visurf' ? PUBLISHED_TOKENS : undefined),
    parameters: [...published, ...(options.parameters ?? [])],
    onProgress: onDownload,
  });
  await using policy = opened;
  options.onOrigins?.(origins);
  const isLikelihood = benchmark.isLikelihood?.(protocol) ?? false;
  if (isLikelihood && options.by) {
    throw new UserError(`${benchmark.name} asks for probabilities of texts, which servers do not tell`, {
      where: '--backend',
      remedy: 'Leave it out: the model is then loaded here.',
    });
  }
  const side = protocol === 'visurf' && PLACES.includes(task) ? PUBLISHED_SIDE : undefined;
  const encoder = side === undefined ? policy.encoder : policy.encoder.stretchedTo(side);
  const questions = asked.map((item) =>
    questionOf(item, experiment, [
      ...[path.resolve(model), options.adapter, options.revision, side],
      ...(options.by ? [options.by.backend] : []),
    ]),
  );
  const answers = new Map(questions.flatMap(({ key }) => (kept.has(key) ? [[key, kept.get(key)!] as const] : [])));
  writeLines(perSample, [...answers.values()]);
  const log = new AppendOnly(perSample);
  try {
    const rest = questions.filter(({ key }) => !answers.has(key));
    for await (const batch of answersTo(rest, policy, experiment, {
      encoder,
      isLikelihood,
      signal,
    })) {
      for (const answer of batch) {
        answers.set(answer.asked, answer);
        log.append(answer);
      }
      onProgress?.(answers.size, questions.length);
    }
  } finally {
    log.close();
  }
  const given = questions.map(({ key }) => answers.get(key)!);
  const marks: Marks[] = [];
  const masked = maskerOf(experiment, task, protocol);
  for (const [i, { text, frame, probability }] of given.entries()) {
    const mask = await masked?.(asked[i]!.images[0]!, text, frame);
    const said = await benchmark.mark({ text, frame, probability, mask }, await truthOf(asked[i]!.truth), protocol);
    marks.push({ ...said, ...(mask && { mask: encodeRle(mask) }) });
    if (masked) onProgress?.(marks.length, given.length);
  }
  replaceFile(perSample, linesOf(given.map((answer, i) => ({ ...answer, ...marks[i] }))));
  return resultOf(loaded, marks, perSample);
}

/** What draws the mask of an answer, where the task's parameters ask for masks. @throws UserError without the package */
function maskerOf(experiment: Experiment, task: string, protocol: Protocol) {
  const { masks, sam2 } = experiment.parametersOf(task);
  if (masks !== 'sam2' || typeof sam2 !== 'string') return undefined;
  requireLibrary();
  const segmenter = segmenterOf(sam2);
  return (file: string, text: string, frame: Frame): Promise<Mask> =>
    segmenter.union(file, drawn(text, frame, protocol));
}

interface AskedItem extends Pick<Item, 'id' | 'images'> {
  /** The user turn. */
  readonly problem: string;
  /** Names everything that decides the answer. */
  readonly key: string;
}

function questionOf(
  { id, images, problem: asked }: Item,
  experiment: Experiment,
  model: readonly unknown[],
): AskedItem {
  const { system, maxNewTokens, minPixels, maxPixels, think } = experiment.settings;
  const problem = experiment.userTurn(asked);
  const decided = JSON.stringify([
    model,
    id,
    problem,
    system,
    maxNewTokens,
    minPixels,
    maxPixels,
    ...(think === undefined ? [] : [think]),
  ]);
  return { id, images, problem, key: createHash('sha256').update(decided).digest('hex').slice(0, 16) };
}

/** Who answers: a policy, or servers, which tell no probabilities of texts. */
type Answers = Pick<Policy, 'encoder' | 'sample'> & Partial<Pick<Policy, 'logProbs'>>;

/** The probability of "yes" where an answer has its verdict; undefined where it has none. */
function yesTo(policy: Answers, prompt: Prompt, answer: string): number | undefined {
  const texts = verdicts(answer);
  if (!texts || !policy.logProbs) return undefined;
  const responses = texts.map((text) => ({ text, tokens: policy.encoder.encodeText(text), stop: 'length' as const }));
  return probabilityOfYes(policy.logProbs(prompt, responses));
}

/** Batch after batch of greedy answers. */
async function* answersTo(
  questions: readonly AskedItem[],
  policy: Answers,
  { settings: { system, maxNewTokens } }: Experiment,
  { encoder, isLikelihood, signal }: { encoder: PromptEncoder; isLikelihood: boolean; signal: AbortSignal | undefined },
): AsyncGenerator<Kept[]> {
  for (let start = 0; start < questions.length; start += evaluatedTogether) {
    signal?.throwIfAborted();
    const batch = questions.slice(start, start + evaluatedTogether);
    const prompts = await Promise.all(
      batch.map(({ id, images, problem }) => encoder.encode({ problem, images, system, places: true }, id)),
    );
    const sampling = { ...greedy, group: 1, maxNewTokens, seed: 0, step: 0, promptIds: batch.map((_, i) => start + i) };
    const groups = await policy.sample(prompts, { ...sampling, ...(signal && { signal }) });
    yield batch.map(({ id, key }, i) => {
      const { text, stop } = groups[i]![0]!;
      const probability = isLikelihood ? yesTo(policy, prompts[i]!, text) : undefined;
      return { id, asked: key, text, stop, frame: prompts[i]!.frames[0]!, probability };
    });
  }
}
