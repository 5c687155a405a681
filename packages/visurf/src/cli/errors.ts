/** What a person sees when a command fails, and its exit code. */

import { CommanderError } from 'commander';

const FAILURE = 1;
const BAD_INPUT = 2;

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return isAnswer(error) ? 0 : BAD_INPUT;
  return isUserError(error) ? BAD_INPUT : FAILURE;
}

export function report(error: unknown): void {
  // Commander has printed its own message, or the help that was asked for.
  if (error instanceof CommanderError) return;
  const message = error instanceof Error ? error.message : String(error);
  console.error(`error: ${message}`);
  if (isUserError(error)) return;
  if (process.env.VISURF_DEBUG) console.error(error);
  else console.error('  This is a failure of visurf, not of its input. VISURF_DEBUG=1 shows where it happened.');
}

/** Known by its name: this file must load where the library cannot. */
export function isUserError(error: unknown): boolean {
  return error instanceof Error && error.name === 'UserError';
}

/** `--help` and `--version`; the help that is shown because no command was named is a mistake. */
function isAnswer(error: CommanderError): boolean {
  return error.exitCode === 0;
}
