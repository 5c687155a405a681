/** Machines with a card: known ones, files, and what a driver calls a card. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { UserError } from '../errors.ts';
import { findMachine, machineNames, machineOfCard } from './machines.ts';

function fileOf(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'visurf-machine-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'machine.yaml');
  writeFileSync(file, text);
  return file;
}

test.each(machineNames)('%s has all that a plan needs', (name) => {
  const { memory, hostMemory, bandwidth, rates, launch } = findMachine(name);
  for (const each of [memory, hostMemory, bandwidth, rates.bfloat16, rates.float32, launch])
    expect(each).toBeGreaterThan(0);
  expect(rates.bfloat16).toBeGreaterThan(rates.float32);
});

test('a file describes another: GB, GB/s, TFLOP/s, microseconds', () => {
  const file = fileOf(
    'memory: 32\nhost: { memory: 64 }\nbandwidth: 1000\nbfloat16: 100\nfloat32: 50\nlaunch: 5\nprice: 2\n',
  );
  expect(findMachine(file)).toEqual({
    ...{ name: file, memory: 32e9, hostMemory: 64e9, bandwidth: 1e12, launch: 5e-6, link: 25e9, price: 2 },
    rates: { bfloat16: 100e12, float32: 50e12, float64: 50e12 / 64 },
  });
});

test.each([
  ['H100', 'Did you mean h100?'],
  ['A100', 'Did you mean a100-80 or a100-40?'],
  ['constructor', 'Known are'],
  ['missing.yaml', 'missing.yaml'],
])('%s is refused with what to do', (name, message) => {
  expect(() => findMachine(name)).toThrow(UserError);
  expect(() => findMachine(name)).toThrow(message);
});

test.each([
  ['memory: 32\n', 'bandwidth'],
  ['memory: -1\nbandwidth: 1\nbfloat16: 1\nfloat32: 1\n', 'memory'],
  ['memory: 1\nbandwidth: 1\nbfloat16: 1\nfloat32: 1\nflops: 3\n', 'flops'],
  ['memory: 1\nbandwidth: 1e300\nbfloat16: 1\nfloat32: 1\n', 'bandwidth'],
  ['memory: 1\nbandwidth: 1\nbfloat16: 1\nfloat32: 1\nprice: 1e-300\n', 'price'],
  ['a: [', 'no YAML'],
  ['', 'the file'],
])('a file that says %j is refused', (text, message) => {
  const file = fileOf(text);
  expect(() => findMachine(file)).toThrow(UserError);
  expect(() => findMachine(file)).toThrow(message);
});

test.each([
  ['NVIDIA H100 80GB HBM3', 85e9, 'h100'],
  ['NVIDIA H200', 150e9, 'h200'],
  ['NVIDIA A100-SXM4-80GB', 85e9, 'a100-80'],
  ['NVIDIA A100-PCIE-40GB', 42e9, 'a100-40'],
  ['NVIDIA L40S', 48e9, 'l40s'],
  ['NVIDIA L4', 24e9, 'l4'],
  ['NVIDIA GeForce RTX 4090', 25e9, 'rtx4090'],
  ['Tesla V100-SXM2-16GB', 17e9, undefined],
])('a card called %s of %d bytes is %s', (card, memory, name) => {
  expect(machineOfCard(card, memory)?.name).toBe(name);
});
