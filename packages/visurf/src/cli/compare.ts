import type { Command } from 'commander';
import type { Compared } from '@visurf/core';
import { INTERRUPTED, interruptible, whenStopped } from './interrupt.ts';
import { answeredBy, example, withJson, withServers } from './options.ts';
import type { JsonOption, ServerOptions } from './options.ts';
import { PROGRAM, Progress, formatDuration, print, printJson } from './output.ts';

interface CompareOptions extends JsonOption, ServerOptions {
  readonly dryRun?: true;
}

export function defineCompare(program: Command): void {
  const command = program
    .command('compare')
    .description('train paradigms with several seeds, and compare what they learned; goes on where it was stopped')
    .argument('<comparison.yaml>', 'what is compared')
    .argument('[key=value...]', 'changes to the configuration that all runs share, such as steps=100')
    .option('--dry-run', 'say what is to be done and how long it takes, and do nothing');
  withJson(withServers(command)).action(async (file: string, changes: readonly string[], given: CompareOptions) => {
    const { dryRun, json, backend, server = [] } = given;
    const by = answeredBy(given, command);
    const servers = by ? [`--backend ${backend}`, ...server.map((url) => `--server ${url}`)] : [];
    const options = [dryRun && '--dry-run', json && '--json', ...servers].filter((each) => typeof each === 'string');
    const next = `To go on: ${PROGRAM} compare ${[file, ...changes, ...options].join(' ')}`;
    whenStopped(next);
    const { compare, loadComparison, outlook } = await import('@visurf/core');
    const comparison = loadComparison(file, changes, by);
    const { jobs, done, seconds, updates } = await outlook(comparison);
    const left = jobs - done;
    const time = seconds > 0 ? `; training takes about ${formatDuration(seconds)}` : '';
    if (dryRun) {
      const each = [...updates].map(([run, count]) => `${run} ${count}`).join(', ');
      if (json) printJson({ policies: jobs, done, seconds, updates: Object.fromEntries(updates) });
      else print(`${jobs} policies, ${done} of them done${time}; updates: ${each}`);
      return;
    }
    const progress = new Progress();
    if (left > 0) progress.message(`${jobs} policies, ${done} of them done${time}`);
    const compared = await interruptible((signal) =>
      compare(comparison, {
        onEvent: ({ stage, done: at, total, note }) => progress.update(stage, at, total, note),
        onMessage: (message) => progress.message(message),
        signal,
      }).catch((error: unknown) => {
        if (signal.aborted && error === signal.reason) return undefined;
        throw error;
      }),
    );
    progress.finish();
    if (!compared) {
      console.error(`stopped. ${next}`);
      process.exitCode = INTERRUPTED;
      return;
    }
    if (json) printJson(asJson(compared));
    else print(`${compared.text}\n\nwritten: ${[...compared.files, ...compared.figures].join(', ')}`);
  });
  example(
    command,
    'visurf compare comparison.yaml',
    'visurf compare comparison.yaml steps=20 --dry-run',
    'visurf compare comparison.yaml train.lora.rank=16 --backend vllm --server http://127.0.0.1:8000',
  );
}

/** Maps as objects. */
function asJson({
  policies,
  columns,
  seeds,
  reference,
  estimates,
  updates,
  seconds,
  passes,
  files,
  figures,
}: Compared): object {
  const values = Object.fromEntries(
    [...estimates.values].map(([policy, of]) => [
      policy,
      { ...Object.fromEntries(of), updates: updates.get(policy), seconds: seconds.get(policy) },
    ]),
  );
  const differences = Object.fromEntries(
    [...estimates.differences].map(([policy, of]) => [policy, Object.fromEntries(of)]),
  );
  const sampled = Object.fromEntries(
    [...passes].map(([file, { passAtK, byDifficulty }]) => [
      file,
      {
        passAtK: Object.fromEntries(passAtK),
        byDifficulty: byDifficulty.map(({ policies: of, ...row }) => ({ ...row, policies: Object.fromEntries(of) })),
      },
    ]),
  );
  return { policies, columns, seeds, reference, values, differences, sampled, files, figures };
}
