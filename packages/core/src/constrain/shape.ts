/** What answers are held to: the schema of a task, or a narrower one. */
import { UserError } from '../errors.ts';
import type { AnswerSchema } from '../tasks/schema.ts';

/** Say nothing about what a value is. */
const REMARKS = ['$schema', '$id', 'title', 'description', 'default', 'examples', '$comment'];

const KEYWORDS: Readonly<Record<AnswerSchema['type'], readonly string[]>> = {
  string: ['enum', 'const'],
  number: [],
  integer: [],
  array: ['items', 'minItems', 'maxItems'],
  object: ['properties', 'required', 'additionalProperties'],
};

/**
 * The schema that was asked for, where the task's answers can be held to it.
 * @param own of the task
 * @throws UserError that names the place where it asks for something else
 */
export function narrowed(asked: unknown, own: AnswerSchema, where = 'schema'): AnswerSchema {
  const fail = (reason: string): never => {
    throw new UserError(reason, { where, remedy: `The task's answers are of this form: ${JSON.stringify(own)}` });
  };
  if (typeof asked !== 'object' || asked === null || Array.isArray(asked)) return fail('is no JSON schema');
  const given: Given = Object.fromEntries(Object.entries(asked).filter(([key]) => !REMARKS.includes(key)));
  const type = given['type'] ?? (own.type === 'string' && ('enum' in given || 'const' in given) ? 'string' : undefined);
  if (type !== own.type && !(type === 'integer' && own.type === 'number')) {
    return fail(`asks for ${type === undefined ? 'no type' : JSON.stringify(type)}, the task answers with ${own.type}`);
  }
  const unknown = Object.keys(given).find((key) => key !== 'type' && !KEYWORDS[own.type].includes(key));
  if (unknown !== undefined) return fail(`${unknown} is not supported here`);
  if (own.type === 'array') return narrowedList(given, own, where, fail);
  if (own.type === 'object') return narrowedObject(given, own, where, fail);
  if (own.type !== 'string') return { type: type as 'number' | 'integer' };
  const values = 'const' in given ? [given['const']] : given['enum'];
  if (values === undefined) return own;
  if (!Array.isArray(values) || values.length === 0 || !values.every((value) => isWord(value))) {
    return fail('enum is a list of texts without < and >');
  }
  const foreign = (values as string[]).find((value) => own.enum && !own.enum.includes(value));
  return foreign === undefined
    ? { type: 'string', enum: values as string[] }
    : fail(`the task never says "${foreign}"`);
}

type Given = Readonly<Record<string, unknown>>;
type Fail = (reason: string) => never;

const isWord = (value: unknown): boolean => typeof value === 'string' && value.trim() !== '' && !/[<>]/.test(value);

function narrowedList(given: Given, own: AnswerSchema & { type: 'array' }, where: string, fail: Fail): AnswerSchema {
  const { items, minItems = own.minItems ?? 0, maxItems = own.maxItems ?? Infinity } = given;
  if (items === undefined) return fail('items is missing');
  if (!isCount(minItems) || !(maxItems === Infinity || isCount(maxItems)) || minItems > maxItems) {
    return fail('minItems and maxItems are whole numbers, the second not smaller');
  }
  const [least, most] = [own.minItems ?? 0, own.maxItems ?? Infinity];
  if (minItems < least || minItems > most) return fail(`the task's lists have ${least} items or more, ${most} at most`);
  const ending = Math.min(maxItems, most);
  return {
    ...{ type: 'array', items: narrowed(items, own.items, `${where}.items`), minItems },
    ...(ending < Infinity && { maxItems: ending }),
  };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function narrowedObject(given: Given, own: AnswerSchema & { type: 'object' }, where: string, fail: Fail): AnswerSchema {
  const { properties, required = [], additionalProperties = false } = given;
  if (typeof properties !== 'object' || properties === null) return fail('properties is missing');
  if (typeof additionalProperties !== 'boolean') return fail('additionalProperties is true or false');
  if (!Array.isArray(required)) return fail('required is a list of names');
  const asked = properties as Given;
  const foreign = [...Object.keys(asked), ...(required as unknown[])].find((name) => !Object.hasOwn(own.properties, String(name))); // prettier-ignore
  if (foreign !== undefined) return fail(`the task's answers have no ${JSON.stringify(foreign)}`);
  const missing = own.required.find((name) => !Object.hasOwn(asked, name));
  if (missing !== undefined) return fail(`the task's answers have "${missing}"`);
  const names = Object.keys(own.properties).filter((name) => Object.hasOwn(asked, name));
  return {
    type: 'object',
    properties: Object.fromEntries(
      names.map((name) => [name, narrowed(asked[name], own.properties[name]!, `${where}.properties.${name}`)]),
    ),
    required: names.filter((name) => own.required.includes(name) || (required as unknown[]).includes(name)),
    additionalProperties: false,
  };
}
