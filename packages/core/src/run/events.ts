/**
 * What a run says about itself while it goes on: `events.jsonl`, one JSON object a line, at most one `step` per step.
 * Trainer, studio and other tools share these types; readers skip types they do not know.
 */
import path from 'node:path';
import { linesOf } from '../regular.ts';

interface Stamped {
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Steps finished. */
  readonly step: number;
}

/** Of what a run writes; readers of other programs go by it. */
export const FORMAT = 1;

/** Where a run comes from. */
export interface Origin {
  /** As it was typed. */
  readonly command?: string | undefined;
  /** Of the folder that it was typed in, where that is in git. */
  readonly commit?: string | undefined;
  readonly host?: string | undefined;
  /** Of the terms of the reward, by name. */
  readonly weights?: Readonly<Record<string, number>> | undefined;
  /** That train together. */
  readonly processes?: number | undefined;
}

/** The run began, or went on from a checkpoint. */
export interface StartEvent extends Stamped, Origin {
  readonly type: 'start' | 'resume';
  readonly format: number;
  readonly configHash: string;
  readonly environment: Readonly<Record<string, unknown>>;
  /** Where the course is kept that the run left, going back to this step; from the run's directory. */
  readonly branch?: string | undefined;
}

export interface StepEvent extends Stamped {
  readonly type: 'step';
  /** Rewards, losses, norms, rates, counts by name. */
  readonly metrics: Readonly<Record<string, number>>;
  /** By phase. */
  readonly seconds: Readonly<Record<string, number>>;
  /** Highest bytes of tensors on the model's device; missing in runs of older versions. */
  readonly memory?: number;
}

export interface EvalEvent extends Stamped {
  readonly type: 'eval';
  readonly metrics: Readonly<Record<string, number>>;
  /** Samples evaluated. */
  readonly n: number;
}

export interface CheckpointEvent extends Stamped {
  readonly type: 'checkpoint';
  readonly seconds: number;
}

export interface EndEvent extends Stamped {
  readonly type: 'end';
  readonly reason: 'done' | 'interrupted' | 'failed';
  readonly message?: string | undefined;
}

/** Something needs attention, such as labels that take the policy over. */
export interface WarningEvent extends Stamped {
  readonly type: 'warning';
  readonly message: string;
}

export type RunEvent = StartEvent | StepEvent | EvalEvent | CheckpointEvent | WarningEvent | EndEvent;

/** An event as its writer gives it: the run adds the time. */
export type NewEvent = RunEvent extends infer Event ? (Event extends RunEvent ? Omit<Event, 'time'> : never) : never;

/**
 * Events of a run, finished or not; the half-written last line of a killed process is left out.
 * @param onDamage hears of lines that are no events, which are left out as well: `events.jsonl:LINE ...`
 */
export function readEvents(file: string, onDamage: (message: string) => void = () => undefined): RunEvent[] {
  const events: RunEvent[] = [];
  let number = 0;
  for (const line of linesOf(file)) {
    number++;
    const event = line === undefined ? undefined : eventOf(line);
    if (event) events.push(event);
    else onDamage(`${path.basename(file)}:${number} is damaged, and left out`);
  }
  return events;
}

/** The event that a line of the log is; undefined where it is none. What is no number is left out of its numbers. */
export function eventOf(line: string): RunEvent | undefined {
  let event: Record<string, unknown> | null;
  try {
    event = JSON.parse(line) as Record<string, unknown> | null;
  } catch {
    return undefined;
  }
  if (typeof event?.['type'] !== 'string' || !Number.isSafeInteger(event['step']) || !Number.isFinite(event['time']))
    return undefined;
  const { type, message = '', weights } = event;
  const needed = type === 'step' ? ['metrics', 'seconds'] : type === 'eval' ? ['metrics'] : [];
  const numbers = needed.map((name) => [name, numbersOf(event[name])] as const);
  const isWhole =
    numbers.every(([, all]) => all !== undefined) &&
    typeof message === 'string' &&
    (type !== 'warning' || 'message' in event);
  const told = { ...(weights !== undefined && { weights: numbersOf(weights) }), ...Object.fromEntries(numbers) };
  return isWhole ? ({ ...event, ...told } as unknown as RunEvent) : undefined;
}

function numbersOf(value: unknown): Readonly<Record<string, number>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.fromEntries(Object.entries(value).filter(([, each]) => Number.isFinite(each)));
}
