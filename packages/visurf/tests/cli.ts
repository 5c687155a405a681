/** Runs the command line as a user does, in a process of its own. */

import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { expect, onTestFinished } from 'vitest';

export const root = resolve(import.meta.dirname, '../../..');
export const fixtures = join(root, 'oracle/fixtures');
/** A random Qwen2.5-VL of 244 thousand parameters. */
export const tinyModel = join(fixtures, 'tiny-qwen2_5-vl/model');

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function visurf(...args: readonly string[]): Promise<Outcome> {
  return await finished(start(args));
}

/** The same, typed in a folder. */
export const visurfIn = (folder: string, ...args: readonly string[]): Promise<Outcome> => finished(start(args, folder));

/** Runs a command with text on its standard input. */
export async function visurfReading(input: string, ...args: readonly string[]): Promise<Outcome> {
  const child = spawn(join(root, 'visurf'), args, { cwd: tmpdir() });
  child.stdin.end(input);
  return await finished(child);
}

/** Starts a command, and sends it a signal as soon as standard error says `text`; `before` is done first. */
export async function signalAt(
  text: string,
  signal: 'SIGINT' | 'SIGHUP' | 'SIGTERM' | 'SIGKILL' | 'SIGCONT',
  args: readonly string[],
  before?: () => Promise<void>,
  cwd?: string,
): Promise<Outcome> {
  const child = start(args, cwd);
  let seen = '';
  const listen = (chunk: Buffer) => {
    seen += chunk.toString();
    if (!seen.includes(text)) return;
    child.stderr.off('data', listen);
    void (before?.() ?? Promise.resolve()).finally(() => child.kill(signal));
  };
  child.stderr.on('data', listen);
  return await finished(child);
}

function start(args: readonly string[], cwd = tmpdir()): ChildProcessByStdio<null, Readable, Readable> {
  return spawn(join(root, 'visurf'), args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
}

export async function finished(child: ChildProcessByStdio<Writable | null, Readable, Readable>): Promise<Outcome> {
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise<number | null>((done) => child.on('close', done));
  return { code, stdout, stderr };
}

/** The one JSON document on standard output. */
export async function visurfJson<T>(...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await visurf(...args, '--json');
  if (code !== 0) throw new Error(`visurf ${args.join(' ')} ended with ${code}:\n${stderr}`);
  return JSON.parse(stdout) as T;
}

/** One message that says all of this, no stack, nothing on standard output, exit code 2. */
export function expectRefusal({ code, stdout, stderr }: Outcome, ...messages: readonly (string | RegExp)[]): void {
  for (const message of messages) expect(stderr).toMatch(message);
  expect(stderr.match(/^error: /gm)).toHaveLength(1);
  expect(stderr).not.toMatch(/^ {4}at |failure of visurf/m);
  expect([code, stdout]).toEqual([2, '']);
}

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'visurf-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}
