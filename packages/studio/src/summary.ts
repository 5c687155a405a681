/** What is to be said of a run at a glance. */
import type { RunEvent, StepEvent } from '@visurf/core/records';

export type State = 'running' | 'silent' | 'finished' | 'stopped' | 'failed' | 'empty';

export interface Summary {
  readonly state: State;
  /** Why it failed, or for how long there is no news. */
  readonly reason?: string | undefined;
  readonly step: number;
  readonly steps: number | undefined;
  /** Milliseconds since 1970. */
  readonly started: number | undefined;
  readonly updated: number | undefined;
  /** Seconds that are left, by the pace of the last steps. */
  readonly timeLeft: number | undefined;
  readonly best: { readonly metric: string; readonly value: number; readonly step: number } | undefined;
  /** The reward of steps (their loss where nothing is sampled), or less of them. */
  readonly spark: readonly number[];
  readonly warnings: number;
}

/** Points of a sparkline. */
const SPARK = 60;
/** Steps that say how fast a run goes. */
const PACE = 20;
/** A run is silent after so many times the median time of a step, and not before so many milliseconds. */
const SILENCE = 10;
const LEAST_SILENCE = 120_000;

/** What an evaluation is judged by, the first that it has. */
const GOALS = ['gIoU', 'accuracy', 'rocAuc', 'reward'];

const isStep = (event: RunEvent): event is StepEvent => event.type === 'step';

/** What the time of a step begins with. */
const isPace = (event: RunEvent): boolean => isStep(event) || event.type === 'start' || event.type === 'resume';

const median = (values: readonly number[]): number | undefined => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Milliseconds between the last steps, resumes aside. */
function paceOf(events: readonly RunEvent[]): number | undefined {
  const gaps: number[] = [];
  for (let i = events.length - 1; i > 0 && gaps.length < PACE; i--) {
    const event = events[i]!;
    if (!isStep(event)) continue;
    let at = i - 1;
    while (at >= 0 && !isPace(events[at]!)) at--;
    if (at >= 0) gaps.push(event.time - events[at]!.time);
  }
  return median(gaps);
}

function thinned(values: readonly number[]): number[] {
  if (values.length <= SPARK) return [...values];
  return Array.from({ length: SPARK }, (_, i) => {
    const part = values.slice(Math.floor((i * values.length) / SPARK), Math.floor(((i + 1) * values.length) / SPARK));
    return part.reduce((a, b) => a + b, 0) / part.length;
  });
}

function bestOf(events: readonly RunEvent[]): Summary['best'] {
  const evaluations = events.filter((event) => event.type === 'eval');
  const metric = GOALS.find((name) => evaluations.some(({ metrics }) => name in metrics));
  if (metric === undefined) return undefined;
  let best: Summary['best'];
  for (const { metrics, step } of evaluations) {
    const value = metrics[metric];
    if (value !== undefined && !(best && best.value >= value)) best = { metric, value, step };
  }
  return best;
}

/** @param steps that the configuration asks for */
export function summarize(events: readonly RunEvent[], steps: number | undefined, now = Date.now()): Summary {
  const last = events.at(-1);
  const done = events.filter(isStep);
  const step = done.at(-1)?.step ?? 0;
  const pace = paceOf(events);
  const quiet = last ? now - last.time : 0;
  const state = stateOf(last, quiet > Math.max(LEAST_SILENCE, SILENCE * (pace ?? 0)));
  const metric = done.some(({ metrics }) => metrics.reward !== undefined) ? 'reward' : 'loss';
  const reason =
    last?.type === 'end' && last.message !== undefined
      ? last.message
      : state === 'silent'
        ? `no news for ${Math.round(quiet / 60_000)} min`
        : undefined;
  return {
    ...{ state, reason, step, steps },
    started: events[0]?.time,
    updated: last?.time,
    timeLeft:
      state === 'running' && steps !== undefined && pace !== undefined ? ((steps - step) * pace) / 1000 : undefined,
    best: bestOf(events),
    spark: thinned(done.flatMap(({ metrics }) => metrics[metric] ?? [])),
    warnings: events.filter(({ type }) => type === 'warning').length,
  };
}

function stateOf(last: RunEvent | undefined, isQuiet: boolean): State {
  if (!last) return 'empty';
  if (last.type !== 'end') return isQuiet ? 'silent' : 'running';
  return last.reason === 'done' ? 'finished' : last.reason === 'failed' ? 'failed' : 'stopped';
}
