import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { TraceFile } from './trace.ts';

function open(): { trace: TraceFile; read: () => unknown[]; path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'visurf-trace-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'trace.json');
  const trace = new TraceFile(path, ['phases', 'operators']);
  onTestFinished(() => trace.close());
  return { trace, read: () => JSON.parse(readFileSync(path, 'utf8')) as unknown[], path };
}

test('the file is whole from the start, and after every write', () => {
  const { trace, read, path } = open();
  const names = [
    { ph: 'M', name: 'thread_name', pid: 1, tid: 1, args: { name: 'phases' } },
    { ph: 'M', name: 'thread_name', pid: 1, tid: 2, args: { name: 'operators' } },
  ];
  expect(read()).toEqual(names);
  trace.span('operators', 'a "name"', 1.5, 0.25);
  trace.flush();
  const span = { ph: 'X', name: 'a "name"', pid: 1, tid: 2, ts: 1500, dur: 250 };
  expect(read()).toEqual([...names, span]);
  trace.span('phases', 'update', 0, 3);
  expect(read()).toHaveLength(3);
  trace.flush();
  expect(read()).toEqual([...names, span, { ph: 'X', name: 'update', pid: 1, tid: 1, ts: 0, dur: 3000 }]);
  expect(statSync(path).size).toBe(trace.size);
});

test('many events reach the file before anybody asks', () => {
  const { trace, read } = open();
  for (let i = 0; i < 10_000; i++) trace.span('operators', 'mm', i, 1);
  expect(read().length).toBeGreaterThan(8_000);
});
