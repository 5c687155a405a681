#!/usr/bin/env node
import module from 'node:module';
import { join } from 'node:path';

// Older versions cannot even parse the rest.
const version = process.versions.node;
if (Number(version.split('.')[0]) < 24) {
  console.error(
    `error: visurf needs Node.js 24 or newer, and this is ${version}: npm install -g node@24, or https://nodejs.org`,
  );
  process.exitCode = 2;
} else {
  // What was compiled once starts in a third of the time; where the folder cannot be written it is compiled again.
  const { XDG_CACHE_HOME: own, HOME: home } = process.env;
  const cache = own ?? (home && join(home, '.cache'));
  if (cache && !module.getCompileCacheDir()) module.enableCompileCache(join(cache, 'visurf', 'compiled'));
  // Before the rest of the program is read.
  const { endOnSignals, leaveWhereStopped } = await import('./cli/interrupt.ts');
  endOnSignals();
  // A reader that closes the pipe (`visurf ... | head`) has seen enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  const { run } = await import('./cli/program.ts');
  // Not process.exit: what was printed to a pipe must arrive first.
  const code = await run(process.argv.slice(2));
  process.exitCode = code;
  await leaveWhereStopped(code);
}
