/** Every number of the configuration at its ends, and beyond them: it is planned, or its key is named to its user. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { afterAll, expect, test } from 'vitest';
import { LEAVES } from './config/keys.ts';
import { parseConfig } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { UserError } from './errors.ts';
import { plan } from './plan.ts';
import { PARADIGMS } from './schedule/paradigm.ts';
import { fixtures, tinyModel } from './testing/oracle.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'visurf-extremes-'));
afterAll(() => rmSync(folder, { recursive: true }));
const data = path.join(folder, 'train.jsonl');
const image = path.join(fixtures, 'images/small-40x40.png');
writeFileSync(data, `${JSON.stringify({ id: 'a', image, problem: 'it', solution: [{ bbox_2d: [1, 2, 30, 31] }] })}\n`);

type Tree = Record<string, unknown>;
const BASE: Tree = {
  ...{ model: tinyModel, output: path.join(folder, 'run'), steps: 2, promptsPerStep: 1 },
  ...{ data: { train: data, allowOutside: true }, rollout: { group: 2, maxNewTokens: 2 } },
};

const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The configuration with a value at a dotted key. */
function withValue(config: Tree, key: string, value: unknown): Tree {
  const [first = '', ...rest] = key.split('.');
  if (rest.length === 0) return { ...config, [first]: value };
  const below = config[first];
  return { ...config, [first]: withValue(isTree(below) ? below : {}, rest.join('.'), value) };
}

function numberIn(schema: z.ZodType): z.ZodNumber | undefined {
  if (schema instanceof z.ZodNumber) return schema;
  const isWrapper =
    schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional;
  return isWrapper ? numberIn(schema.unwrap() as z.ZodType) : undefined;
}

const NUMBERS = LEAVES.flatMap(({ key, schema }) => {
  const number = numberIn(schema);
  return number ? [{ key, least: number.minValue ?? -Infinity, most: number.maxValue ?? Infinity }] : [];
});

/** What a configuration with that value is, under the first paradigm that uses the key; else every refusal. */
function read(key: string, value: unknown): { config: Config } | { refused: readonly string[] } {
  const refused: string[] = [];
  for (const paradigm of PARADIGMS) {
    try {
      return { config: parseConfig(withValue({ ...BASE, paradigm }, key, value)) };
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      refused.push(error.message);
    }
  }
  return { refused };
}

test('there are numbers', () => {
  expect(NUMBERS.length).toBeGreaterThan(40);
});

test.each(NUMBERS)('$key', { timeout: 60_000 }, async ({ key, least, most }) => {
  const wrong = ['much', true, [1], NaN, -Infinity, ...[least - 1, most + 1].filter(Number.isFinite)];
  for (const value of wrong) {
    const { refused = ['it was taken'] } = read(key, value) as { refused?: readonly string[] };
    for (const said of refused) expect([value, said]).toEqual([value, expect.stringContaining(key)]);
  }
  for (const value of [least, most, Number.MIN_VALUE, Number.MAX_VALUE].filter(Number.isFinite)) {
    const found = read(key, value);
    if (!('config' in found)) continue;
    const planned = await plan(found.config, { gflops: 1 }).catch((error: unknown) => {
      if (error instanceof UserError) return undefined;
      throw error;
    });
    if (planned) expect([planned.memory.peak, planned.time.step].every(Number.isFinite)).toBe(true);
  }
});
