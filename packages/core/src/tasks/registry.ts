/** The tasks a config can name. */
import type { z } from 'zod';
import { UserError } from '../errors.ts';
import { anomaly } from './anomaly/anomaly.ts';
import { answer } from './answer/answer.ts';
import { box } from './box/box.ts';
import { click } from './click/click.ts';
import { grounding } from './grounding/grounding.ts';
import { math } from './math/math.ts';
import type { TaskDefinition } from './task.ts';

const definitions = new Map<string, TaskDefinition>();

/**
 * Makes a task known under its name, and returns it.
 * @example
 * defineTask({ name: 'count', parameters: z.strictObject({}), create: (parameters, samples) => ({ ... }) });
 * @throws UserError where the name is taken
 */
export function defineTask<Schema extends z.ZodType, Truth>(
  definition: TaskDefinition<Schema, Truth>,
): TaskDefinition<Schema, Truth> {
  if (definitions.has(definition.name)) throw new UserError(`there already is a task named "${definition.name}"`);
  definitions.set(definition.name, definition);
  return definition;
}

export function taskNames(): readonly string[] {
  return [...definitions.keys()];
}

/** @throws UserError where there is no such task */
export function taskDefinition(name: string): TaskDefinition {
  const definition = definitions.get(name);
  if (definition === undefined) {
    throw new UserError(`there is no task named "${name}"`, { remedy: `choose one of: ${taskNames().join(', ')}` });
  }
  return definition;
}

defineTask(grounding);
defineTask(box);
defineTask(click);
defineTask(anomaly);
defineTask(math);
defineTask(answer);
