/** Input that nobody meant: values and texts with something in them changed, cut, doubled or replaced. */
import { expect } from 'vitest';
import { UserError } from '../errors.ts';
import { held, random } from './reliability.ts';

type Next = () => number;

const NASTY: readonly unknown[] = [
  ...[null, true, '', 'x', -1, 0, 0.5, 1e9, 1e300, -1e300, 2 ** 53, NaN, Infinity, '1e999', 'NaN'],
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', '../../../etc/passwd', '\0', '\ud800', '\ufdd0', 'ﬃ'],
  ...[
    'a'.repeat(10_000),
    [],
    {},
    [[]],
    [null],
    { a: 1 },
    { constructor: 1 },
    [[[[[[[[]]]]]]]],
    '[{"bbox_2d":[1,2,3,4]}]',
  ],
];
const PIECES = [
  ...[
    '"',
    "'",
    '{',
    '}',
    '[',
    ']',
    '{%',
    '%}',
    '{{',
    '}}',
    '<',
    '>',
    '&',
    '*a',
    '&a',
    '!!',
    '|',
    '\n',
    '\t',
    '\0',
    ',',
  ],
  ...[':', '-', '\\', '/', '..', '__proto__', 'constructor', '1e999', '-1', '9'.repeat(30), '\ud800', '\u202e', '﻿'],
];

export const pick = <T>(next: Next, list: readonly T[]): T => list[Math.floor(next() * list.length)]!;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** JSON of it, as often nested. */
const deep = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);

/** A value with some parts of it replaced, taken out, or under other names. */
export function spoiledValue(value: unknown, next: Next, share = 0.15): unknown {
  if (next() < share / 2) return pick(next, NASTY);
  if (Array.isArray(value)) {
    const items = value.flatMap((each): unknown[] =>
      next() < share / 4 ? [] : next() < share / 4 ? [each, each] : [spoiledValue(each, next, share)],
    );
    return next() < share / 4 ? [...items, pick(next, NASTY)] : items;
  }
  if (!isObject(value)) return value;
  const made: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [key, each] of Object.entries(value)) {
    if (next() < share / 4) continue;
    made[next() < share / 8 ? String(pick(next, NASTY)) : key] = spoiledValue(each, next, share);
  }
  if (next() < share / 4) made[pick(next, ['__proto__', 'constructor', 'x', ''])] = pick(next, NASTY);
  return made;
}

/** A text with pieces cut out, put in, doubled, or turned around. */
export function spoiledText(text: string, next: Next): string {
  let spoiled = text;
  for (let edits = 1 + Math.floor(next() * 4); edits > 0; edits--) {
    const at = Math.floor(next() * (spoiled.length + 1));
    const end = Math.min(spoiled.length, at + Math.floor(next() ** 3 * 40));
    const piece = next() < 0.5 ? pick(next, PIECES) : spoiled.slice(at, end).repeat(Math.floor(next() * 3));
    spoiled = spoiled.slice(0, at) + piece + spoiled.slice(next() < 0.5 ? at : end);
  }
  return next() < 0.01 ? spoiled + deep(pick(next, [1000, 100_000])) : spoiled;
}

/** Bytes with some changed, or cut off. */
export function spoiledBytes(bytes: Uint8Array, next: Next): Uint8Array {
  const spoiled = Uint8Array.from(bytes);
  for (let edits = Math.floor(next() * 6); edits > 0; edits--) {
    spoiled[Math.floor(next() ** 2 * spoiled.length)] = Math.floor(next() * 256);
  }
  return next() < 0.3 ? spoiled.subarray(0, Math.floor(next() * spoiled.length)) : spoiled;
}

export interface Fuzzed<Input> {
  readonly parser: string;
  readonly test: string;
  readonly count: number;
  readonly make: (next: Next) => Input;
  /** Reads it, or refuses it. */
  readonly read: (input: Input) => unknown;
  /** Milliseconds for one, on a machine that is busy. */
  readonly limit?: number;
}

/** Every input is read, or refused with a message for its user, within the limit. */
export async function fuzz<Input>({ parser, test, count, make, read, limit = 3000 }: Fuzzed<Input>): Promise<void> {
  let worst = 0;
  for (let seed = 1; seed <= count; seed++) {
    const input = make(random(seed));
    const started = performance.now();
    try {
      await read(input);
    } catch (error) {
      if (!(error instanceof UserError)) throw new Error(`${parser}, seed ${seed}: ${shown(input)}`, { cause: error });
      // A message that a person can read, whatever was in the input.
      expect([seed, error.message.length < 20_000]).toEqual([seed, true]);
    }
    const took = performance.now() - started;
    if (took > limit) throw new Error(`${parser}, seed ${seed}: ${Math.round(took)} ms for ${shown(input)}`);
    worst = Math.max(worst, took);
  }
  held({ promise: `Any ${parser} is read, or refused with a message`, test, count, of: 'inputs', worst });
}

const shown = (input: unknown): string => (typeof input === 'string' ? input : JSON.stringify(input)).slice(0, 600);
