import { appendFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LineIndex } from './line-index.ts';
import { readLines, type Line } from './lines.ts';

const file = path.join(mkdtempSync(path.join(tmpdir(), 'visurf-index-')), 'a.jsonl');
const maxLineBytes = 60;

async function read(bytes: Buffer): Promise<{ index: LineIndex; lines: Line[] }> {
  writeFileSync(file, bytes);
  const lines: Line[] = [];
  for await (const line of readLines(file, maxLineBytes)) if (line.text?.trim() !== '') lines.push(line);
  return { index: await LineIndex.scan(file, { maxLineBytes }), lines };
}

const piece = fc.oneof(
  fc
    .constantFrom('\n', '\r\n', '', ' ', '\ufeff', '{"a": 1}', 'é'.repeat(50), '\u00a0')
    .map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
);

test('an index gives the lines that reading gives, all of them and one by one, in any order', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 60 }), async (pieces) => {
      const { index, lines } = await read(Buffer.concat(pieces));
      // Lines of spaces that are not ASCII are left to whoever reads them.
      const found = [...index.lines()].filter(({ text }) => text?.trim() !== '');
      expect(found).toEqual(lines);
      const order = [...found.keys()].reverse();
      const numbers = new Set(found.map(({ number }) => number));
      const places = [...Array(index.length).keys()].filter((i) => numbers.has(index.numberOf(i)));
      const turned = index.pick(places.toReversed());
      expect(order.map((i) => turned.line(order.length - 1 - i))).toEqual([...order].map((i) => found[i]));
    }),
  );
});

test('a file that has changed since is not read as if it had not', async () => {
  const { index } = await read(Buffer.from('{}\n{}\n'));
  appendFileSync(file, '{}\n');
  expect(() => index.line(0)).toThrow('it has changed since it was read');
});
