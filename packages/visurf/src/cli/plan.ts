import type { Command } from 'commander';
import type { Plan } from '@visurf/core';
import { stoppable } from './interrupt.ts';
import { configurationOf, givenOf, withConfiguration } from './configuration.ts';
import { withKeyHints } from './hints.ts';
import { example, number, wholeNumber, withCompute, withJson } from './options.ts';
import type { ComputeOptions, JsonOption } from './options.ts';
import { Progress, downloads, warn, formatDuration, print, printJson, reading, table } from './output.ts';

interface PlanOptions extends Partial<ComputeOptions>, JsonOption {
  readonly memory?: number;
  readonly gflops?: number;
  readonly responseTokens?: number;
  readonly machine?: string;
  readonly cards?: number;
  readonly nodes?: number;
  readonly network?: string;
  readonly processes?: number;
}

export function definePlan(program: Command): void {
  const command = withConfiguration(
    program
      .command('plan')
      .description('say how much memory and time a configuration will take, and what to change when that is too much'),
  )
    .option(
      '--memory <GB>',
      'to fit in (default: what is free here)',
      number('a number above 0', (gb) => gb > 0),
    )
    .option(
      '--gflops <n>',
      'of matrix products (default: measured here)',
      number('a number above 0', (n) => n > 0),
    )
    .option('--machine <name>', 'to plan for: h100, a100-80, l40s, rtx4090, ... or a file that describes it')
    .option('--cards <n>', 'of every node, which share the prompts of a step (default: 1)', wholeNumber(1))
    .option('--nodes <n>', 'machines with so many cards (default: 1)', wholeNumber(1))
    .option('--network <rate>', 'of a node, in bits per second (default: 100G)')
    .option('--processes <n>', 'that share the processors of this machine (default: 1)', wholeNumber(1))
    .option('--response-tokens <n>', 'of an answer (default: the longest that is allowed)', wholeNumber(1));
  withKeyHints(withJson(withCompute(command, false))).action(
    async (first: string | undefined, others: readonly string[], options: PlanOptions) => {
      const { json, device, precision, stream, memory, ...given } = options;
      const asked = givenOf(first, others, { device, precision, stream }, command);
      const { plan } = await import('@visurf/core');
      const limit = memory === undefined ? undefined : memory * 1e9;
      const config = await configurationOf(asked, warn);
      const progress = new Progress();
      const result = await stoppable((signal) =>
        plan(config, { ...given, memory: limit, onProgress: downloads(), onRead: reading(progress), signal }),
      );
      progress.finish();
      if (!result) return;
      if (json) printJson(result);
      else print(describe(result));
    },
  );
  example(
    command,
    'visurf plan config.yaml',
    'visurf plan config.yaml train.microBatch.prompts=1 --memory 80',
    'visurf plan config.yaml --processes 4',
    'visurf plan config.yaml train.lora.rank=16 --machine rtx4090',
    'visurf plan config.yaml --machine h100 --cards 8 --nodes 4 --network 400G',
  );
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(bytes < 1e9 ? 2 : 1)} GB`;
const millions = (count: number): string =>
  count < 1e9 ? `${(count / 1e6).toFixed(1)} million` : `${(count / 1e9).toFixed(2)} billion`;

function describe({
  memory,
  time,
  total,
  steps,
  parameters,
  workload,
  available,
  fits,
  advice,
  warnings,
  host,
  costPer1000Steps,
  processes,
  servers,
  hint,
  efficiency,
  assumptions,
  ...rest
}: Plan): string {
  const share = (bytes: number) => `${Math.round((100 * bytes) / memory.peak)}%`;
  const rows = memory.parts.map(({ part, bytes }) => [part, gigabytes(bytes), share(bytes)]);
  const { prompts, promptTokens, patches, responses, responseTokens } = workload;
  const lines = [
    `${millions(parameters.all)} parameters, ${millions(parameters.trainable)} of them trained; ${prompts} prompts a step`,
    `at most ${promptTokens} tokens a prompt (${patches} patches of images), ${responses} responses of ${responseTokens} tokens`,
    '',
    table([`peak memory, in the phase of ${memory.phase}`, gigabytes(memory.peak), 'share'], rows),
    '',
    `a step: ${formatSeconds(time.step)} (generation ${formatSeconds(time.generation)}, update ${formatSeconds(time.update)}` +
      `${time.communication > 0 ? `, exchange ${formatSeconds(time.communication)}` : ''}); ` +
      `${steps} steps: ${formatDuration(total)}, without evaluation, if answers are that long`,
    '',
  ];
  if (time.phases) {
    const shown = time.phases.map(({ name, seconds, binds }) => [name, formatSeconds(seconds), binds]);
    lines.push(table(['phase', 'time', 'bound by'], shown), '', hint ?? '', '');
  }
  if (servers) lines.push(describeServers(servers), '');
  if (host) lines.push(`memory of the host: ${gigabytes(host.peak)} of ${gigabytes(host.available)}`, '');
  if (efficiency) {
    const shown = Object.entries(efficiency).map(([cards, each]) => `${(100 * each).toFixed(0)}% on ${cards}`);
    lines.push(`efficiency of this step by cards: ${shown.join(', ')}`, '');
  }
  if (costPer1000Steps !== undefined) lines.push(`1000 steps cost ${costPer1000Steps.toFixed(2)}`, '');
  if (assumptions) lines.push('Assumed:', ...assumptions.map((each) => `- ${each}`), '');
  for (const warning of warnings) lines.push(`Warning: ${warning}.`, '');
  const there = `${gigabytes(available)} are available${processes > 1 ? ` for each of ${processes} processes` : ''}`;
  if (fits) lines.push(`It fits: ${there}.`);
  else lines.push(`It does not fit: ${there}. Most goes to: ${rest.dominant}.`);
  if (advice.length > 0 && !fits) {
    lines.push(
      '',
      table(
        ['change', 'peak memory', ''],
        advice.map(({ change, peak }) => [change, gigabytes(peak), peak <= available ? 'fits' : '']),
      ),
    );
  }
  return lines.join('\n');
}

function describeServers({ count, seconds, enough }: NonNullable<Plan['servers']>): string {
  const many = (n: number): string => (n === 1 ? '1 server' : `${n} servers`);
  const needed =
    enough === undefined
      ? 'no number of them samples as fast as the cards learn'
      : `with ${many(enough)} they take no longer than the cards take to learn`;
  return `rollouts by ${many(count)}: ${formatSeconds(seconds)} a step; ${needed}`;
}

const formatSeconds = (seconds: number): string => (seconds < 10 ? `${seconds.toFixed(2)} s` : formatDuration(seconds));
