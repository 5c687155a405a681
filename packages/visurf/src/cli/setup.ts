import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Command } from 'commander';
import { setupProgram } from '@visurf/core/setup';
import { stoppable } from './interrupt.ts';
import { example } from './options.ts';

export function defineSetup(program: Command): void {
  const command = program
    .command('setup')
    .description(
      'find libtorch, or fetch it (for the CPU 550 MB, or 200 MB where pip offers a CPU build; for CUDA 3 GB), and build the addon where none for it came prebuilt',
    )
    .option('--existing', 'only with a libtorch that is there: download none')
    .option('--cuda', 'a libtorch for NVIDIA GPUs, fetched where the one that is there is for the CPU alone')
    .option('--force', 'build it again');
  command.action(async ({ existing, cuda, force }: SetupOptions) => {
    const args = [existing ? '--existing' : cuda ? [] : '--cpu', cuda ? '--cuda' : [], force ? '--force' : []].flat();
    const status = await stoppable((signal) => build(args, signal), 'Repeat the command to go on');
    if (status === undefined) return;
    // What is missing here is the user's to mend, and was said.
    if (status !== 0) process.exitCode = 2;
    else console.error('libtorch and the addon are there; `visurf doctor` says more');
  });
  example(command, 'visurf setup', 'LIBTORCH=~/libtorch visurf setup');
}

interface SetupOptions {
  readonly existing?: true;
  readonly cuda?: true;
  readonly force?: true;
}

/** @returns its exit code; null where a signal ended it */
async function build(args: readonly string[], signal: AbortSignal): Promise<number | null> {
  // A group of its own, which ends with what it started. Ninja hands SIGTERM on to compilers, which are in other groups.
  const child = spawn(process.execPath, [setupProgram(), ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  });
  signal.addEventListener('abort', () => child.pid !== undefined && process.kill(-child.pid, 'SIGTERM'));
  const [status] = (await once(child, 'exit')) as [number | null];
  signal.throwIfAborted();
  return status;
}
