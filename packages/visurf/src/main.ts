#!/usr/bin/env node
// Older versions cannot even parse the rest.
const version = process.versions.node;
if (Number(version.split('.')[0]) < 24) {
  console.error(
    `error: visurf needs Node.js 24 or newer, and this is ${version}: npm install -g node@24, or https://nodejs.org`,
  );
  process.exitCode = 2;
} else {
  // Before the rest of the program is read.
  const { endOnSignals } = await import('./cli/interrupt.ts');
  endOnSignals();
  // A reader that closes the pipe (`visurf ... | head`) has seen enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  const { run } = await import('./cli/program.ts');
  // Not process.exit: what was printed to a pipe must arrive first.
  process.exitCode = await run(process.argv.slice(2));
}
