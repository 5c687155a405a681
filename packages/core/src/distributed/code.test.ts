import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { codePrint } from './code.ts';

test('what is code is in the print, wherever it lies; tests and declarations are not', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-code-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const prints: string[] = [];
  const write = (file: string, text: string): void => {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    writeFileSync(path.join(folder, file), text);
    prints.push(codePrint([folder]));
  };
  write('a.ts', '1');
  write('below/b.js', '2');
  write('a.ts', '2');
  expect(new Set(prints).size).toBe(3);
  write('a.test.ts', '3');
  write('b.d.ts', '3');
  write('notes.md', '3');
  expect(new Set(prints).size).toBe(3);
});

test('this code has one, with its version', () => {
  expect(codePrint()).toMatch(/^\d+\.\d+\.\d+ \([0-9a-f]{8}\)$/);
  expect(codePrint()).toBe(codePrint());
});
