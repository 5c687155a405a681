import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Tokenizer } from '../prompt/tokenizer.ts';
import { taskDefinition } from '../tasks/registry.ts';
import type { AnswerSchema } from '../tasks/schema.ts';
import { answerBlock } from '../tasks/thinking.ts';
import { tinyModel } from '../testing/oracle.ts';
import { Constraint, Vocabulary } from './constraint.ts';
import { narrowed } from './shape.ts';

const tokenizer = Tokenizer.load(tinyModel);
const vocabulary = new Vocabulary(tokenizer, 334);

const schemaOf = (name: string, parameters: object = {}): AnswerSchema => {
  const definition = taskDefinition(name);
  return definition.create(definition.parameters.parse(parameters), []).schema!;
};

/** What a model says that chooses among the allowed tokens as `pick` does. */
function said(schema: AnswerSchema, most: number, pick: (count: number) => number): { text: string; isEnded: boolean } {
  const constraint = new Constraint(vocabulary, schema, most);
  let bytes = '';
  for (let at = 0; at < most; at++) {
    const allowed = [...constraint.forbidden().entries()].flatMap(([id, value]) => (value === 0 ? [id] : []));
    expect(allowed.length).toBeGreaterThan(0);
    const token = allowed[pick(allowed.length)]!;
    constraint.push(token);
    if (tokenizer.eosIds.includes(token)) return { text: Buffer.from(bytes, 'latin1').toString(), isEnded: true };
    bytes += tokenizer.bytesOf(token)!;
  }
  return { text: Buffer.from(bytes, 'latin1').toString(), isEnded: false };
}

/** Whether a value is of a schema, by other means. */
function holds(value: unknown, schema: AnswerSchema): boolean {
  if (schema.type === 'string') return typeof value === 'string' && (schema.enum?.includes(value) ?? true);
  if ('properties' in schema) return holdsAll(value, schema);
  if (schema.type === 'array') {
    if (!Array.isArray(value)) return false;
    const { minItems = 0, maxItems = Infinity } = schema;
    return value.length >= minItems && value.length <= maxItems && value.every((item) => holds(item, schema.items));
  }
  return schema.type === 'integer' ? Number.isInteger(value) : Number.isFinite(value);
}

function holdsAll(value: unknown, { required, properties }: AnswerSchema & { type: 'object' }): boolean {
  const record = value as Readonly<Record<string, unknown>>;
  return (
    required.every((name) => name in record) &&
    Object.entries(record).every(([name, own]) => properties[name] && holds(own, properties[name]))
  );
}

const box = {
  type: 'object',
  properties: { bbox_2d: { type: 'array', items: { type: 'integer' }, minItems: 4, maxItems: 4 } },
};
const schemas: readonly [string, AnswerSchema][] = [
  ['boxes', schemaOf('grounding', { points: false })],
  ['boxes and points', schemaOf('grounding', { points: true })],
  ['clicks', schemaOf('click')],
  ['two whole boxes', narrowed({ type: 'array', items: box, minItems: 2, maxItems: 2 }, schemaOf('grounding', { points: false }))],
]; // prettier-ignore

test.each(schemas)('whatever the model would say, its answer is of the schema and ends in time: %s', (_, schema) => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 120, max: 400 }), fc.double({ min: 0, max: 1, noNaN: true }), (seed, most, greed) => {
      // Some models never want to end, some want to at once.
      let state = seed;
      const random = (): number => ((state = (Math.imul(state, 1664525) + 1013904223) | 0) >>> 0) / 2 ** 32;
      const pick = (count: number): number => (random() < greed ? count - 1 : Math.floor(random() * count));
      const { text, isEnded } = said(schema, most, pick);
      expect(isEnded).toBe(true);
      expect(holds(JSON.parse(answerBlock(text)!), schema)).toBe(true);
    }),
    { numRuns: 60 },
  ); // prettier-ignore
});

test('words of an answer stand as they are', () => {
  const schema = narrowed({ type: 'string', enum: ['yes'] }, schemaOf('anomaly'));
  expect(answerBlock(said(schema, 60, () => 0).text)).toBe('yes');
  expect(answerBlock(said(schemaOf('answer'), 60, (count) => count - 1).text)).toBeDefined();
});

test.each<[string, unknown, string]>([
  ['another type', { type: 'object', properties: {} }, 'asks for "object"'],
  ['no type', {}, 'asks for no type'],
  ['a keyword that is not honoured', { type: 'array', items: box, uniqueItems: true }, 'uniqueItems is not supported'],
  ['no items', { type: 'array' }, 'items is missing'],
  ['a property of none', { type: 'array', items: { type: 'object', properties: { label: {} } } }, 'no "label"'],
  ['none of its properties', { type: 'array', items: { type: 'object', properties: {} } }, 'have "bbox_2d"'],
  ['a pattern of numbers', { type: 'array', items: { ...box, properties: { bbox_2d: { type: 'array', items: { type: 'number', multipleOf: 2 } } } } }, 'multipleOf'],
  ['fewer numbers', { type: 'array', items: { ...box, properties: { bbox_2d: { type: 'array', items: { type: 'number' }, minItems: 3 } } } }, '4 items or more'],
  ['nothing', null, 'no JSON schema'],
])('a schema that the task cannot be held to is refused: %s', (_, asked, reason) => {
  expect(() => narrowed(asked, schemaOf('grounding', { points: false }))).toThrow(reason);
}); // prettier-ignore
