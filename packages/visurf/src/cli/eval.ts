import { Option } from 'commander';
import type { Command } from 'commander';
import type { AnsweredBy, BenchmarkResult, Protocol } from '@visurf/core';
import { INTERRUPTED, interruptible, stoppable, whenStopped } from './interrupt.ts';
import { withMade } from './made.ts';
import { measureOf, withMeasure } from './measure.ts';
import type { MeasuredOptions } from './measure.ts';
import { answeredBy, example, wholeNumber, withCompute, withJson, withServers, withSource } from './options.ts';
import type { ComputeOptions, JsonOption, ModelOptions, ServerOptions } from './options.ts';
import { Progress, metricsTable, print, printJson, reading } from './output.ts';

interface EvalOptions extends Omit<ModelOptions, 'model'>, MeasuredOptions, ComputeOptions, ServerOptions, JsonOption {
  readonly model?: string;
  readonly data: string;
  readonly limit?: number;
  readonly allowOutside?: true;
  readonly output?: string;
  readonly benchmark?: string;
  readonly split?: string;
  readonly protocol?: Protocol;
  readonly questions?: string;
  readonly predictions?: string;
  readonly resume?: true;
}

export function defineEval(program: Command): void {
  const command = withSource(
    program
      .command('eval')
      .description('score a checkpoint on a dataset, asked as it was trained, or on a published benchmark')
      .option('--model <dir>', 'checkpoint in Hugging Face layout: a directory, a run, or owner/name on the hub'),
  )
    .option('--base <dir>', 'the base of a model that is an adapter, where it is not where the adapter says')
    .requiredOption(
      '--data <file.jsonl>',
      'one sample per line: image, problem, solution; or the folder of the benchmark',
    )
    .option('--limit <n>', 'only the first samples', wholeNumber(1))
    .option('--allow-outside', 'images may lie outside of the folder of the data')
    .option('--benchmark <name>', 'a published benchmark, as its authors publish it (docs/benchmarks.md)')
    .option('--split <name>', 'of the benchmark')
    .addOption(
      new Option('--protocol <name>', 'whose rules the benchmark is scored by').choices(['official', 'visurf']),
    )
    .option('--predictions <file.jsonl>', 'score these answers: id, text, mask, probability; needs no model')
    .option('--resume', 'go on with the answers that the output holds already');
  withMade(command, new Option('--output <file.jsonl>', 'where the answer to every sample goes'), {
    goesOn: 'resume',
  });
  withMade(
    command,
    new Option(
      '--questions <file.jsonl>',
      'only write what the benchmark asks: id, images, problem, task; needs no model',
    ),
  );
  withJson(withServers(withCompute(withMeasure(command), true))).action(async (given: EvalOptions) => {
    const by = answeredBy(given, command);
    requireOneWay(given, command);
    if (given.benchmark === undefined) await evaluateFile(given, by);
    else await evaluateBenchmark(given, given.benchmark, by);
  });
  example(
    command,
    'visurf eval --model runs/cars/best --data validation.jsonl',
    'visurf eval --model DIR --data validation.jsonl --config config.yaml',
    'visurf eval --model DIR --data validation.jsonl --task answer --task match=relaxed',
    'visurf eval --model DIR --benchmark grefcoco --data datasets --split val --resume',
    'visurf eval --benchmark grefcoco --data datasets --predictions answers.jsonl',
    'visurf eval --model runs/cars --data validation.jsonl --backend vllm --server http://127.0.0.1:8000',
  );
}

const KEPT = 'The answers so far are kept: to go on, repeat the command with --resume';

const OF_BENCHMARKS = ['split', 'protocol', 'questions', 'predictions', 'resume'] as const;

/** Options that go with a model: without one nothing is asked. */
const OF_MODELS = [
  ...(['resume', 'config', 'task', 'plugin', 'prompt', 'system', 'maxPixels', 'minPixels', 'maxNewTokens'] as const),
  ...(['revision', 'adapter', 'base', 'backend', 'server'] as const),
];

/** Ends the command where options exclude each other, or one is missing. */
function requireOneWay(given: EvalOptions, command: Command): void {
  const fail = (message: string): never => command.error(`error: ${message}`);
  const { benchmark, model, questions, predictions } = given;
  if (benchmark === undefined) {
    const other = OF_BENCHMARKS.find((key) => given[key] !== undefined);
    if (other) fail(`--${other} goes with --benchmark`);
    if (model === undefined) fail("required option '--model <dir>' not specified");
  } else if ([model, questions, predictions].filter((each) => each !== undefined).length !== 1) {
    fail('with --benchmark, name one of --model, --questions and --predictions');
  } else if (model === undefined) {
    const other = OF_MODELS.find((key) => given[key] !== undefined && String(given[key]) !== '');
    if (other) fail(`--${other.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} goes with --model`);
    if (questions !== undefined && given.output !== undefined) fail('--output goes with --model and --predictions');
  }
}

async function evaluateFile(given: EvalOptions, by: AnsweredBy | undefined): Promise<void> {
  const { evaluate } = await import('@visurf/core');
  const {
    json,
    model = '',
    revision,
    adapter,
    base,
    data,
    limit,
    output,
    device,
    precision,
    stream,
    allowOutside,
  } = given;
  const progress = new Progress();
  const evaluated = await stoppable(async (signal) =>
    evaluate({
      ...(await measureOf(given)),
      ...{ model, revision, adapter, base, data, limit, output, device, precision, stream, allowOutside, signal, by },
      onProgress: (done, total) => progress.update('evaluating', done, total),
      onDownload: (each) => progress.download(each),
      onOrigins: (lines) => lines.forEach((line) => progress.message(line)),
      onRead: reading(progress),
    }),
  );
  progress.finish();
  if (!evaluated) return;
  const { metrics, n, perSample } = evaluated;
  if (json) printJson({ metrics, n, perSample });
  else print(`${metricsTable(metrics)}\n\n${n} samples; the answers are in ${perSample}`);
}

async function evaluateBenchmark(given: EvalOptions, benchmark: string, by: AnsweredBy | undefined): Promise<void> {
  const { runBenchmark, scorePredictions, writeQuestions } = await import('@visurf/core');
  const { json, data, split, protocol, limit, output, questions, predictions, model = '' } = given;
  const asked = { benchmark, data, split, protocol, limit };
  if (questions !== undefined) {
    const n = await writeQuestions({ ...asked, questions });
    if (json) printJson({ questions, n });
    else print(`${n} questions are in ${questions}`);
    return;
  }
  const progress = new Progress();
  const onProgress = (done: number, total: number): void => {
    if (predictions === undefined) whenStopped(KEPT);
    progress.update('evaluating', done, total);
  };
  if (predictions !== undefined) {
    const scored = await scorePredictions({ ...asked, predictions, output, onProgress });
    progress.finish();
    printResult(scored, json);
    return;
  }
  const { revision, adapter, base, device, precision, stream, resume } = given;
  const result = await interruptible(async (signal) => {
    try {
      return await runBenchmark({
        ...(await measureOf(given)),
        ...{
          ...asked,
          model,
          revision,
          adapter,
          base,
          output,
          device,
          precision,
          stream,
          resume,
          signal,
          onProgress,
          by,
        },
        onDownload: (each) => progress.download(each),
        onOrigins: (lines) => lines.forEach((line) => progress.message(line)),
      });
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  });
  progress.finish();
  if (result) {
    printResult(result, json);
    return;
  }
  progress.message(`stopped. ${KEPT}`);
  process.exitCode = INTERRUPTED;
}

function printResult({ metrics, n, perSample, notes, ...about }: BenchmarkResult, json: true | undefined): void {
  if (json) return printJson({ metrics, n, perSample, notes, ...about });
  const { benchmark, split, protocol } = about;
  const rows = Object.fromEntries(Object.entries(metrics).map(([name, value]) => [name, value ?? NaN]));
  const listed = notes.map((note) => `- ${note}\n`).join('');
  print(
    `${benchmark}, split ${split}, protocol ${protocol}\n\n${metricsTable(rows)}\n\n${listed}${n} samples; the answers are in ${perSample}`,
  );
}
