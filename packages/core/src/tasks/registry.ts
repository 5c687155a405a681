/** The tasks a config can name. */
import { hash } from 'node:crypto';
import type { z } from 'zod';
import { UserError } from '../errors.ts';
import { anomaly } from './anomaly/anomaly.ts';
import { answer } from './answer/answer.ts';
import { box } from './box/box.ts';
import { click } from './click/click.ts';
import { markDefined } from './defined.ts';
import { grounding } from './grounding/grounding.ts';
import { math } from './math/math.ts';
import type { Sample } from '../types.ts';
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
  registerTask(definition);
  return markDefined(definition, 'task');
}

/** Makes a task known that may be known already. @throws UserError where another one has its name */
export function registerTask(definition: TaskDefinition): void {
  const known = definitions.get(definition.name);
  if (known !== undefined && known !== definition) {
    throw new UserError(`there already is a task named "${definition.name}"`);
  }
  definitions.set(definition.name, definition);
}

export function taskNames(): readonly string[] {
  return [...definitions.keys()];
}

/**
 * Whether a task wants to see this sample before it is used.
 * @param told what samples have told it before; what this one tells is added
 */
export function wantsToSee(sample: Sample, told: Set<string>): boolean {
  const definition = definitions.get(sample.task);
  if (definition === undefined) return false;
  if (definition.tells) {
    const tells = definition.tells(sample);
    const isNew = tells !== undefined && !told.has(tells);
    if (isNew) told.add(tells);
    return isNew;
  }
  return definition.decide !== undefined || definition.create.length > 1;
}

/** Stands for all tasks that are known, as far as the text of their functions tells. */
export function tasksPrint(): string {
  const textOf = (definition: TaskDefinition): string =>
    Object.values(definition)
      .filter((value) => typeof value === 'function')
      .map(String)
      .join('\n');
  return hash('sha256', [...definitions].map(([name, definition]) => `${name}\n${textOf(definition)}`).join('\n'));
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

const builtIn: ReadonlySet<string> = new Set(taskNames());

/** Whether a task is one of ours, whose work is bounded whatever it is given. */
export const isBuiltIn = (name: string): boolean => builtIn.has(name);
