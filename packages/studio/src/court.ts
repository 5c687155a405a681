/** Decisions about labels: a file of corrections, which a training applies from its next step on. */
import { appendFileSync, existsSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { readText, UserError } from '@visurf/core/records';
import type { RunView } from './run-view.ts';

export interface Decision {
  readonly id: string;
  readonly action: 'accept' | 'drop' | 'fix';
  readonly solution?: unknown;
}

/** Characters of a solution that a decision may hold. */
const LONGEST = 100_000;

/** The file that the run's configuration names, else one beside its data, else one in the run. */
export function correctionsFile(run: RunView): string {
  const { known } = run.config;
  const data = (known['data'] ?? {}) as Record<string, unknown>;
  if (typeof data['corrections'] === 'string') return path.resolve(run.directory, data['corrections']);
  const train = data['train'];
  if (typeof train === 'string' && isWritableFolder(path.dirname(path.resolve(run.directory, train)))) {
    const file = path.resolve(run.directory, train);
    return path.join(path.dirname(file), `${path.parse(file).name}.corrections.jsonl`);
  }
  return path.join(run.directory, 'corrections.jsonl');
}

function isWritableFolder(folder: string): boolean {
  try {
    return statSync(realpathSync(folder)).isDirectory();
  } catch {
    return false;
  }
}

/** Decisions by sample; the last one about it counts. */
export function decisionsOf(run: RunView): Map<string, Decision> {
  const file = correctionsFile(run);
  const decisions = new Map<string, Decision>();
  if (!existsSync(file)) return decisions;
  for (const line of readText(file).split('\n')) {
    const decision = decisionOf(line);
    if (decision) decisions.set(decision.id, decision);
  }
  return decisions;
}

export function decisionOf(line: string): Decision | undefined {
  try {
    const found = JSON.parse(line) as Partial<Decision> | null;
    if (typeof found?.id !== 'string') return undefined;
    const { id, action, solution } = found;
    if (action === 'accept' || action === 'drop') return { id, action };
    return action === 'fix' && solution !== undefined && solution !== null ? { id, action, solution } : undefined;
  } catch {
    return undefined;
  }
}

/** @throws UserError for what is no decision, and where the file is something else than corrections */
export function decide(run: RunView, text: string): string {
  const decision = text.length > LONGEST ? undefined : decisionOf(text);
  const line = decision && lineOf(decision);
  if (line === undefined)
    throw new UserError('a decision is {id, action: accept | drop} or {id, action: fix, solution}');
  const file = correctionsFile(run);
  const first = existsSync(file) ? readText(file).split('\n', 1)[0]! : '';
  if (!file.endsWith('.jsonl') || (first !== '' && !decisionOf(first)))
    throw new UserError('this file does not hold corrections', {
      where: file,
      remedy: 'Name another as data.corrections.',
    });
  appendFileSync(file, line);
  return file;
}

/** Undefined where a solution is nested deeper than it can be written. */
function lineOf(decision: Decision): string | undefined {
  try {
    return `${JSON.stringify(decision)}\n`;
  } catch {
    return undefined;
  }
}
