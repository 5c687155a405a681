/** A folder with an image, samples and a configuration: what `visurf train` needs. */

import { copyFileSync, cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { expectRefusal, fixtures, temporaryFolder, tinyModel, visurf } from './cli.ts';

export const good = { id: 'good', image: 'a.png', problem: 'the red circle', solution: [{ bbox_2d: [1, 2, 30, 31] }] };

/** A sample that differs from the good one. */
export const bad = (fields: object) => ({ ...good, id: 'bad', ...fields });

export interface Setting {
  /** Samples, or lines as they are; the good sample unless said. */
  readonly lines?: readonly unknown[];
  /** The whole configuration in place of the usual one. */
  readonly config?: string | Buffer;
  /** Arguments after the configuration; `$` stands for the folder. */
  readonly args?: readonly string[];
  /** Spoils the folder. */
  readonly prepare?: (folder: string) => unknown;
}

export const usual =
  `model: ${tinyModel}\noutput: run\nsteps: 1\npromptsPerStep: 1\ndata:\n  train: train.jsonl\n` +
  `rollout: { group: 2, maxNewTokens: 4 }\n`;

export async function makeFolder({ lines = [good], config = usual, prepare }: Setting): Promise<string> {
  const folder = temporaryFolder();
  copyFileSync(join(fixtures, 'images/small-40x40.png'), join(folder, 'a.png'));
  writeFileSync(join(folder, 'train.jsonl'), linesOf(lines));
  writeFileSync(join(folder, 'config.yaml'), config);
  await prepare?.(folder);
  return folder;
}

export function linesOf(lines: readonly unknown[]): string {
  return lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('');
}

/** Training is refused with a message that says all of this, before it has made anything. */
export async function expectNoTraining(setting: Setting, ...messages: readonly (string | RegExp)[]): Promise<void> {
  const folder = await makeFolder(setting);
  const args = (setting.args ?? []).map((arg) => arg.replace('$', folder));
  const outcome = await visurf('train', join(folder, 'config.yaml'), ...args, '--json');
  expectRefusal(outcome, ...messages);
  expect(outcome.stderr).not.toMatch(/ step 1\//);
  expect(existsSync(join(folder, 'run'))).toBe(false);
}

/** A copy of the tiny model in `folder/model`, for a test to spoil. */
export function copyModel(folder: string): string {
  const model = join(folder, 'model');
  cpSync(tinyModel, model, { recursive: true });
  return model;
}

/** Events of a run without what no two runs share. */
export function eventsOf(run: string): Record<string, unknown>[] {
  const lines = readFileSync(join(run, 'events.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => {
    const { time: _, seconds: __, memory: ___, ...event } = JSON.parse(line) as Record<string, unknown>;
    return event;
  });
}
