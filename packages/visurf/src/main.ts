#!/usr/bin/env node
import { endOnSignals } from './cli/interrupt.ts';

// Before the rest of the program is read.
endOnSignals();
const { run } = await import('./cli/program.ts');

// A reader that closes the pipe (`visurf ... | head`) has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

// Not process.exit: what was printed to a pipe must arrive first.
process.exitCode = await run(process.argv.slice(2));
