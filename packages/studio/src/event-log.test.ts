import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { EventLog } from './event-log.ts';
import { eventLines, startEvent, stepEvent } from './testkit.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'studio-log-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, 'events.jsonl');

test('what is appended in pieces of any size is read once, line by line', () => {
  const text = eventLines([startEvent(), ...Array.from({ length: 20 }, (_, i) => stepEvent(i + 1, { 'with ü': i }))]);
  const bytes = Buffer.from(text);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 40 }), (sizes) => {
      writeFileSync(file, '');
      const log = new EventLog(folder);
      let at = 0;
      for (const size of [...sizes, bytes.length]) {
        appendFileSync(file, bytes.subarray(at, at + size));
        at += size;
        log.poll();
      }
      expect(log.events).toHaveLength(21);
      expect(log.damaged).toEqual([]);
      expect(log.poll()).toBe(false);
    }),
  );
});

test('a run that is cut back and grows past where it was is read again', () => {
  writeFileSync(file, eventLines([startEvent(), stepEvent(1), stepEvent(2), stepEvent(3)]));
  const log = new EventLog(folder);
  log.poll();
  const kept = eventLines([startEvent(), stepEvent(1)]).length;
  truncateSync(file, kept);
  appendFileSync(file, eventLines([2, 3, 4, 5].map((step) => stepEvent(step, { reward: 99 }))));
  expect(log.poll()).toBe(true);
  expect(log.generation).toBe(1);
  expect(log.events.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4, 5]);
  expect(log.events.at(-1)).toMatchObject({ metrics: { reward: 99 } });
});

test('a line that is longer than lines are is damage, and what follows it is read', () => {
  const before = eventLines([startEvent(), stepEvent(1)]);
  writeFileSync(file, before);
  const log = new EventLog(folder);
  // Zeros of a power cut: while they grow, and when a line follows them.
  for (const size of [9 << 20, 20 << 20]) {
    truncateSync(file, size);
    expect(log.poll()).toBe(true);
    expect(log.poll()).toBe(false);
    expect([log.size, log.events.length]).toEqual([size, 2]);
  }
  appendFileSync(file, `\n${eventLines([stepEvent(2), stepEvent(3)])}`);
  log.poll();
  expect(log.events.map(({ step }) => step)).toEqual([0, 1, 2, 3]);
  expect(log.damaged).toEqual(['events.jsonl:3 is damaged, and left out']);
});

test('damaged lines are named and left out, a half-written last one is waited for', () => {
  writeFileSync(
    file,
    `${eventLines([startEvent()])}{"type":"step"\n{"type":"step","step":1,"time":1}\n${eventLines([stepEvent(2)])}{"type":"st`,
  );
  const log = new EventLog(folder);
  log.poll();
  expect(log.events.map(({ step }) => step)).toEqual([0, 2]);
  expect(log.damaged).toEqual(['events.jsonl:2 is damaged, and left out', 'events.jsonl:3 is damaged, and left out']);
});

test('a step without times or with metrics that are no numbers does no harm', () => {
  const lines = [
    '{"type":"step","step":1,"time":1,"metrics":{"reward":1}}',
    '{"type":"step","step":2,"time":1,"metrics":{"reward":"x","loss":1e999,"kl":2},"seconds":{"update":null}}',
    '{"type":"warning","step":2,"time":1,"message":{"a":1}}',
    '{"type":"step","step":1.5,"time":1,"metrics":{},"seconds":{}}',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  const log = new EventLog(folder);
  log.poll();
  expect(log.events).toEqual([{ type: 'step', step: 2, time: 1, metrics: { kl: 2 }, seconds: {} }]);
  expect(log.damaged).toHaveLength(3);
});

test('any bytes are read without a fault', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      writeFileSync(file, bytes);
      const log = new EventLog(folder);
      log.poll();
      expect(log.events.every(({ step }) => Number.isSafeInteger(step))).toBe(true);
    }),
  );
});
