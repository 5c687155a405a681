import { spawnSync } from 'node:child_process';
import type { Command } from 'commander';
import { setupProgram } from '@visurf/core/setup';
import { example } from './options.ts';

export function defineSetup(program: Command): void {
  const command = program
    .command('setup')
    .description('find libtorch, or fetch it (about 200 MB, with CUDA 3 GB), and build the addon where it is not built')
    .option('--existing', 'only with a libtorch that is there: download none')
    .option('--force', 'build it again');
  command.action(({ existing, force }: { readonly existing?: true; readonly force?: true }) => {
    const args = [...(existing ? ['--existing'] : []), ...(force ? ['--force'] : [])];
    const { status } = spawnSync(process.execPath, [setupProgram(), ...args], { stdio: 'inherit' });
    // What is missing here is the user's to mend, and was said.
    if (status !== 0) process.exitCode = 2;
    else console.error('libtorch and the addon are there; visurf doctor says more');
  });
  example(command, 'visurf setup', 'LIBTORCH=~/libtorch visurf setup');
}
