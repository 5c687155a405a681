import { appendFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { sample } from '../tasks/grounding/testkit.ts';
import { Corrections } from './corrections.ts';

const file = path.join(mkdtempSync(path.join(tmpdir(), 'visurf-corrections-')), 'c.jsonl');
const [a, b] = [sample([], { id: 'a' }), sample([], { id: '7' })];
const line = (value: object): string => `${JSON.stringify(value)}\n`;

test('later lines win, new ones are taken up, and a file that is not there says nothing', () => {
  const corrections = new Corrections(file);
  expect(corrections.refresh()).toEqual([]);
  expect(corrections.apply(a)).toBe(a);
  writeFileSync(file, line({ id: 'a', action: 'drop' }) + line({ id: 7, action: 'fix', solution: [1] }));
  expect(corrections.refresh()).toEqual([]);
  expect([corrections.apply(a), corrections.apply(b)?.solution]).toEqual([undefined, '[1]']);
  // A line that is still being written is taken when it is whole.
  const fix = line({ id: 'a', action: 'fix', solution: 'red' });
  appendFileSync(file, fix.slice(0, 9));
  expect([corrections.refresh(), corrections.apply(a)]).toEqual([[], undefined]);
  appendFileSync(file, fix.slice(9));
  corrections.refresh();
  expect(corrections.apply(a)?.solution).toBe('red');
  appendFileSync(file, line({ id: 'a', action: 'accept' }));
  corrections.refresh();
  expect(corrections.apply(a)).toBe(a);
});

test('a line that says nothing is named and left out; a file that is written anew counts anew', () => {
  const corrections = new Corrections(file);
  writeFileSync(file, `{"id": \n\n${line({ id: 'a', action: 'fix' })}${line({ id: 'a', action: 'drop' })}`);
  const faults = corrections.refresh();
  expect(faults.map((fault) => /:(\d): (\w+)/.exec(fault)?.slice(1))).toEqual([
    ['1', 'malformed'],
    ['3', 'neither'],
  ]);
  expect(corrections.apply(a)).toBeUndefined();
  writeFileSync(file, '\n');
  corrections.refresh();
  expect(corrections.apply(a)).toBe(a);
});
