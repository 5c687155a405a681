/** What a person sees when a command fails, and its exit code. */

import { CommanderError } from 'commander';
import { tellLauncher } from './rank.ts';

const FAILURE = 1;
const BAD_INPUT = 2;
const FAULT = '\n  This is a failure of visurf, not of its input. VISURF_DEBUG=1 shows where it happened.';

export function exitCodeOf(failure: unknown): number {
  const error = firstOf(failure);
  if (error instanceof CommanderError) return isAnswer(error) ? 0 : BAD_INPUT;
  return isUserError(error) ? BAD_INPUT : FAILURE;
}

export function report(failure: unknown): void {
  const error = firstOf(failure);
  // Commander has printed its own message, or the help that was asked for.
  if (error instanceof CommanderError) return;
  const message = error instanceof Error ? error.message : String(error);
  const text = `error: ${message}${isUserError(error) || process.env.VISURF_DEBUG ? '' : FAULT}`;
  if (!tellLauncher({ error: text })) console.error(text);
  if (!isUserError(error) && process.env.VISURF_DEBUG) console.error(error);
}

/** What failed first, where leaving it failed as well (`using`). */
const firstOf = (error: unknown): unknown => (error instanceof SuppressedError ? firstOf(error.suppressed) : error);

/** Known by its name: this file must load where the library cannot. */
export function isUserError(error: unknown): boolean {
  return error instanceof Error && error.name === 'UserError';
}

/** `--help` and `--version`; the help that is shown because no command was named is a mistake. */
function isAnswer(error: CommanderError): boolean {
  return error.exitCode === 0;
}
