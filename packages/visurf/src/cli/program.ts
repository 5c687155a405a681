/**
 * The command line: one file per command. Commands load the library when they run, so that `--help` and mistakes in
 * the usage are answered at once, with or without libtorch.
 */

import { createRequire } from 'node:module';
import { Command } from 'commander';
import { defineChat } from './chat.ts';
import { defineCompare } from './compare.ts';
import { defineData } from './data.ts';
import { defineDemo } from './demo.ts';
import { defineDoctor } from './doctor.ts';
import { exitCodeOf, report } from './errors.ts';
import { defineEval } from './eval.ts';
import { defineExport } from './export.ts';
import { defineFetch } from './fetch.ts';
import { defineGenerate } from './generate.ts';
import { defineInit } from './init.ts';
import { defineInspect } from './inspect.ts';
import { defineMerge } from './merge.ts';
import { definePlan } from './plan.ts';
import { definePredict } from './predict.ts';
import { definePublish } from './publish.ts';
import { defineReward } from './reward.ts';
import { defineScore } from './score.ts';
import { defineServe } from './serve.ts';
import { defineSetup } from './setup.ts';
import { defineStudio } from './studio.ts';
import { defineTrain } from './train.ts';

/**
 * Runs one command line and gives its exit code: 0 done, 1 a failure of ours, 2 bad usage or bad input, 3 done but not whole
 * in its store, 130 stopped.
 */
export async function run(argv: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync(argv, { from: 'user' });
    // A command that ended without an error may still have set a code, such as that of an interruption.
    return Number(process.exitCode ?? 0);
  } catch (thrown) {
    const error = await explained(thrown);
    report(error);
    return exitCodeOf(error);
  }
}

/**
 * A file that cannot be read or written is no failure of ours, wherever it was asked for. What libtorch throws has passed
 * the library, which is there then.
 */
async function explained(error: unknown): Promise<unknown> {
  const { path: file } = Object(error) as { readonly path?: unknown };
  if (typeof file === 'string') {
    const { fileError, UserError } = await import('@visurf/core/records');
    const known = fileError(error, { where: file });
    // One that has no words of ours is said in those of the system: `ENXIO: no such device or address, open 'x'`.
    const [, reason] = /^E[A-Z0-9]+: (.+), \w+/.exec(error instanceof Error ? error.message : '') ?? [];
    return known === error && reason !== undefined ? new UserError(reason, { where: file, cause: error }) : known;
  }
  if (!(error instanceof Error && error.name === 'TorchError')) return error;
  const { explainMemory } = await import('@visurf/core');
  return explainMemory(error);
}

export function createProgram(): Command {
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
  const program = new Command('visurf')
    .description('Post-training of vision-language models: supervision and reinforcement in one stage')
    .version(version)
    .exitOverride()
    .showHelpAfterError('(--help shows the options and an example)');
  defineDemo(program);
  defineDoctor(program);
  defineSetup(program);
  defineInit(program);
  defineData(program);
  defineReward(program);
  definePlan(program);
  defineTrain(program);
  defineEval(program);
  definePredict(program);
  defineCompare(program);
  defineInspect(program);
  defineScore(program);
  defineGenerate(program);
  defineChat(program);
  defineServe(program);
  defineMerge(program);
  defineExport(program);
  defineStudio(program);
  definePublish(program);
  defineFetch(program);
  return program;
}
