/**
 * The language of responses whose answer is of a schema: any thought, `<answer>`, the answer, `</answer>`, the end. A state
 * is a set of nodes; each character (a byte) leads to the next set, or to an empty one.
 *
 * In JSON one space may follow a comma or a colon. Numbers have at most five digits before the point and two behind it.
 */
import type { AnswerSchema } from '../tasks/schema.ts';

export interface Node {
  /** Equal for nodes that accept the same. */
  readonly key: string;
  /** What may follow a character. */
  step(character: string): readonly Node[];
  /** A short way to the end of the response. */
  readonly rest: string;
  /** Every character but `<` and `>` leads back to such a node: free text. */
  readonly isFree?: true;
  /** Before the answer begins. */
  readonly isBefore?: true;
}

export type State = readonly Node[];

export const stepped = (state: State, character: string): State => state.flatMap((node) => node.step(character));

/** Nothing may follow but the token that ends a response. */
export const END: Node = { key: '.', step: () => [], rest: '' };

const OPEN = '<answer>';
const CLOSE = '</answer>';
const TAGS = ['<think>', '</think>', OPEN];

/** Where a response begins whose answer is of that schema. */
export function startOf(schema: AnswerSchema): State {
  return [before('', false, answerOf(schema))];
}

/** Whether the answer is a text as it is, not JSON. */
const isText = (schema: AnswerSchema): schema is AnswerSchema & { type: 'string' } => schema.type === 'string';

function answerOf(schema: AnswerSchema): State {
  if (!isText(schema)) return value(schema, [literal(CLOSE, [END])]);
  const { enum: choices } = schema;
  // Bytes, as tokens are given.
  const bytes = (text: string): string => Buffer.from(text).toString('latin1');
  return choices ? choices.map((each) => literal(bytes(each) + CLOSE, [END])) : [words()];
}

/** Text up to an answer. @param tail the beginning of a tag @param isOpen within a thought */
function before(tail: string, isOpen: boolean, answer: State): Node {
  const [closing = ''] = isOpen ? ['</think>'] : [];
  const wanted = closing + OPEN;
  const way = tail !== '' && wanted.startsWith(tail) ? wanted.slice(tail.length) : wanted;
  return {
    ...{ key: `?${tail}${isOpen ? '!' : ''}`, isFree: true, isBefore: true },
    rest: way + shortest(answer),
    step(character) {
      const said = tail + character;
      if (said === OPEN) return answer;
      if (said === '<think>' || said === '</think>') return [before('', said === '<think>', answer)];
      const tagAhead = Array.from(said, (_, i) => said.slice(i)).find((end) => TAGS.some((tag) => tag.startsWith(end)));
      return [before(tagAhead ?? '', isOpen, answer)];
    },
  };
}

/** The words of an answer that is a text. */
function words(): Node {
  const close = literal(CLOSE.slice(1), [END]);
  const node: Node = {
    ...{ key: '~', isFree: true, rest: CLOSE },
    step: (character) => (character === '<' ? [close] : character === '>' ? [] : [node]),
  };
  return node;
}

export const shortest = (state: State): string =>
  state.map(({ rest }) => rest).reduce((a, b) => (b.length < a.length ? b : a));

const keyOf = (next: State): string => next.map(({ key }) => key).join('|');

function literal(text: string, next: State): Node {
  return {
    key: `${text}${keyOf(next)}`,
    rest: text + shortest(next),
    step: (character) => (character !== text[0] ? [] : text.length === 1 ? next : [literal(text.slice(1), next)]),
  };
}

/** The same, and perhaps a space behind it. */
const mark = (text: string, next: State): Node => literal(text, [literal(' ', next), ...next]);

function value(schema: AnswerSchema, next: State): State {
  if (schema.type === 'array') return [literal('[', items(schema, 0, next))];
  if (schema.type === 'object') return [literal('{', fields(Object.keys(schema.properties), schema, true, next))];
  if (schema.type === 'string') throw new Error('texts stand alone');
  return [digits('', schema.type === 'integer', next)];
}

/** After so many items of a list. */
function items(list: AnswerSchema & { type: 'array' }, count: number, next: State): State {
  const { items: item, minItems = 0, maxItems = Infinity } = list;
  const end = count >= minItems ? [literal(']', next)] : [];
  if (count >= maxItems) return end;
  const more = later(`${count}/${keyOf(next)}`, () => value(item, items(list, count + 1, next)));
  return [...end, ...(count === 0 ? [more] : [mark(',', [more])])];
}

/** Fields of an object that are still to come, in their order. */
function fields(
  names: readonly string[],
  object: AnswerSchema & { type: 'object' },
  isFirst: boolean,
  next: State,
): State {
  const [name, ...others] = names;
  if (name === undefined) return [literal('}', next)];
  const behind = fields(others, object, false, next);
  const own = [literal(`"${name}"`, [mark(':', value(object.properties[name]!, behind))])];
  const written = isFirst ? own : [mark(',', own)];
  return object.required.includes(name) ? written : [...written, ...fields(others, object, isFirst, next)];
}

/** A node that is made when it is looked at: lists would be endless. */
function later(key: string, make: () => State): Node {
  let made: State | undefined;
  const state = (): State => (made ??= make());
  return {
    key: `(${key})`,
    step: (character) => stepped(state(), character),
    get rest() {
      return shortest(state());
    },
  };
}

const LONGEST = 5;
const DECIMALS = 2;

function digits(said: string, isWhole: boolean, next: State): Node {
  const [whole = '', part] = said.split('.');
  const isEnd = said !== '' && !said.endsWith('.');
  return {
    key: `#${said === '0' ? '0' : part === undefined ? whole.length : `.${part.length}`}${isWhole ? 'i' : ''}${keyOf(next)}`,
    rest: (isEnd ? '' : '0') + shortest(next),
    step(character) {
      if (/\d/.test(character)) {
        const isFull = part === undefined ? said === '0' || whole.length >= LONGEST : part.length >= DECIMALS;
        return isFull ? [] : [digits(said + character, isWhole, next)];
      }
      if (character === '.' && !isWhole && isEnd && part === undefined) return [digits(`${said}.`, isWhole, next)];
      return isEnd ? stepped(next, character) : [];
    },
  };
}
