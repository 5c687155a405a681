/**
 * Hands what a run writes on to another program, beside the training and never in its way. What was handed on is kept in a
 * file, so that a follower that is started again goes on where it was, and nothing is sent twice.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { UserError, type RunEvent } from '@visurf/core/records';
import { EventLog } from '../event-log.ts';
import { RunView } from '../run-view.ts';
import { findRuns } from '../runs.ts';
import { cacheFolder } from '../server.ts';
import { mlflow } from './mlflow.ts';
import { tensorboard } from './tensorboard-sink.ts';
import { trackio } from './trackio.ts';

/** Numbers of a step or of an evaluation. */
export interface Point {
  readonly step: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly metrics: Readonly<Record<string, number>>;
  /** The step was evaluated: there are answers to look at. */
  readonly isEvaluation: boolean;
}

export interface Followed {
  readonly run: RunView;
  /** Name of the run, with the number of its course where it went back to take another. */
  readonly name: string;
  /** The same for the same course of the same run. */
  readonly key: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** When it began. */
  readonly started: number;
}

/** A program that takes numbers. What it must remember is plain data. */
export interface Sink {
  /** @returns what is to be remembered */
  open(followed: Followed, remembered: unknown): Promise<unknown>;
  /** All in their order; called again with the same where it failed. @returns what is to be remembered */
  send(points: readonly Point[], remembered: unknown): Promise<unknown>;
  /** The run has ended. */
  end?(reason: string): Promise<void>;
}

const SINKS: Readonly<Record<string, (target: string) => Sink>> = { tensorboard, trackio, mlflow };

export interface FollowOptions {
  /** `tensorboard=DIR`, `trackio=URL`, `mlflow=URL`. */
  readonly to: string;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((sent: number) => void) | undefined;
}

/** Milliseconds between looks, and points that are sent at once. */
const POLL = 500;
const AT_ONCE = 200;

interface State {
  readonly sent: number;
  readonly course: number;
  readonly remembered: unknown;
}

function sinkOf(to: string): Sink {
  const [kind = '', ...rest] = to.split('=');
  const target = rest.join('=');
  const make = Object.hasOwn(SINKS, kind) ? SINKS[kind] : undefined;
  if (make && target !== '') return make(target);
  throw new UserError(`${to} is not a place to follow to`, {
    remedy: 'Name one of tensorboard=DIR, trackio=URL, mlflow=URL.',
  });
}

/** The points of a course: those since the run last went back to take another. */
function pointsOf(events: readonly RunEvent[]): { course: number; points: Point[] } {
  let course = 1;
  const points: Point[] = [];
  for (const event of events) {
    if (event.type === 'resume' && event.branch !== undefined) course++;
    if (event.type !== 'step' && event.type !== 'eval') continue;
    const isEvaluation = event.type === 'eval';
    const named = Object.entries(event.metrics).map(
      ([name, value]) => [isEvaluation ? `eval/${name}` : `train/${name}`, value] as const,
    );
    const seconds = isEvaluation
      ? []
      : Object.entries(event.seconds).map(([phase, value]) => [`seconds/${phase}`, value] as const);
    const memory = !isEvaluation && event.memory !== undefined ? [['memory/bytes', event.memory] as const] : [];
    const all = [...named, ...seconds, ...memory].filter(
      ([, value]) => typeof value === 'number' && Number.isFinite(value),
    );
    points.push({ step: event.step, time: event.time, metrics: Object.fromEntries(all), isEvaluation });
  }
  return { course, points };
}

/**
 * Follows a run until it has ended, or the signal.
 * @returns points that were sent now
 * @throws UserError for what is no run, and a place that does not answer
 */
export async function follow(directory: string, { to, signal, onProgress }: FollowOptions): Promise<number> {
  const sink = sinkOf(to);
  const [folder, ...others] = findRuns([directory]);
  if (!folder || others.length > 0)
    throw new UserError(folder ? 'this folder holds several runs' : 'there is no run here', {
      where: directory,
      remedy: 'Name the folder of one run.',
    });
  const run = new RunView(folder);
  const log = new EventLog(folder.directory);
  const file = stateFile(folder.directory, to);
  let [state, opened, total] = [readState(file), false, 0];
  for (;;) {
    log.poll();
    const { course, points } = pointsOf(log.events);
    if (course !== state.course) [state, opened] = [{ sent: 0, course, remembered: undefined }, false];
    // A resumed run goes over steps again, with the same numbers: those that were sent stand.
    const fresh = points.slice(state.sent, state.sent + AT_ONCE);
    if (!opened) {
      const name = course === 1 ? folder.name : `${folder.name} course ${course}`;
      const key = createHash('sha256')
        .update(`${folder.directory} ${course} ${log.events[0]?.time ?? 0}`)
        .digest('hex')
        .slice(0, 32);
      const { known } = run.config;
      state = {
        ...state,
        remembered: await sink.open(
          { run, name, key, config: known, started: log.events[0]?.time ?? 0 },
          state.remembered,
        ),
      };
      opened = true;
    }
    if (fresh.length > 0) {
      const remembered = await sink.send(fresh, state.remembered);
      state = { ...state, sent: state.sent + fresh.length, remembered };
      writeState(file, state);
      total += fresh.length;
      onProgress?.(total);
      continue;
    }
    const last = log.events.at(-1);
    if (last?.type === 'end') {
      await sink.end?.(last.reason);
      return total;
    }
    if (signal?.aborted) return total;
    await new Promise((resolve) => setTimeout(resolve, POLL));
  }
}

/** State of a follower, by run and place. */
function stateFile(directory: string, to: string): string {
  const [kind, target = ''] = to.split(/=(.*)/s);
  const place = kind === 'tensorboard' ? path.resolve(target) : target;
  const key = createHash('sha256')
    .update(`${realpathSync(directory)}\n${kind}\n${place}`)
    .digest('hex')
    .slice(0, 24);
  return kind === 'tensorboard'
    ? path.join(place, `.visurf-${key}.json`)
    : path.join(path.dirname(cacheFolder()), 'follow', `${key}.json`);
}

function readState(file: string): State {
  try {
    const state = JSON.parse(readFileSync(file, 'utf8')) as Partial<State>;
    if (Number.isSafeInteger(state.sent) && Number.isSafeInteger(state.course)) return state as State;
  } catch {
    // None yet.
  }
  return { sent: 0, course: 1, remembered: undefined };
}

function writeState(file: string, state: State): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.part`, JSON.stringify(state));
  renameSync(`${file}.part`, file);
}
