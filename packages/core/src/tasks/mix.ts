/**
 * The tasks of a dataset. Samples may name different ones: each is asked, read and scored by its own, with parameters of
 * its own.
 */
import type { Frame, Sample } from '../types.ts';
import { taskDefinition, taskNames } from './registry.ts';
import type { Task } from './task.ts';

/** A task by name, made for the samples that name it. */
export type TaskMix = ReadonlyMap<string, Task>;

/**
 * Makes the tasks that occur, in the order in which they do. Names of no task are left to whoever checks the samples.
 * @param parameters of each task by its name; unset: its defaults
 * @throws UserError where parameters are wrong, or contradict the samples
 */
export function makeTasks(samples: readonly Sample[], parameters: Readonly<Record<string, unknown>> = {}): TaskMix {
  const known = new Set(taskNames());
  const byTask = Map.groupBy(samples, ({ task }) => task);
  return new Map(
    [...byTask].flatMap(([name, own]): [string, Task][] => {
      if (!known.has(name)) return [];
      const definition = taskDefinition(name);
      return [[name, definition.create(definition.parameters.parse(parameters[name] ?? {}), own)]];
    }),
  );
}

/** What reads the solution of every sample, whatever its task. */
export const truthReader = (tasks: TaskMix) => ({
  parseTruth: (sample: Sample, frames?: readonly Frame[]): unknown =>
    tasks.get(sample.task)?.parseTruth(sample, frames),
});
