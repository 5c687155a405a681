/** `train --profile`: a trace that viewers open, however the run ends. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, signalAt, visurf, visurfJson } from './cli.ts';
import { makeFolder } from './training.ts';

interface Span {
  readonly ph: 'X' | 'M';
  readonly name: string;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
}

const spansOf = (file: string): Span[] =>
  (JSON.parse(readFileSync(file, 'utf8')) as Span[]).filter(({ ph }) => ph === 'X');

const inside = (inner: Span, outer: Span): boolean =>
  inner.ts >= outer.ts - 1 && inner.ts + inner.dur <= outer.ts + outer.dur + 1;

test('the steps after the first are recorded, phase by phase, with their operators', async () => {
  const folder = await makeFolder({});
  const config = join(folder, 'config.yaml');
  await visurfJson('train', config, 'steps=4', 'paradigm=visurf', '--profile', '--profile-steps', '1');

  const spans = spansOf(join(folder, 'run/trace.json'));
  const phases = spans.filter(({ tid }) => tid === 1).sort((a, b) => a.ts - b.ts || b.dur - a.dur);
  expect(phases.map(({ name }) => name)).toEqual(['step 2', 'prompt', 'rollout', 'reward', 'update', 'optimizer']);
  const [step, prompt, rollout, reward, update, optimizer] = phases as [Span, Span, Span, Span, Span, Span];
  expect([prompt, rollout, reward, update].every((phase) => inside(phase, step))).toBe(true);
  expect(inside(optimizer, update)).toBe(true);

  const operators = spans.filter(({ tid }) => tid === 2);
  const within = (phase: Span): Set<string> =>
    new Set(operators.filter((each) => inside(each, phase)).map(({ name }) => name));
  expect(operators.every((each) => inside(each, step))).toBe(true);
  expect(within(rollout)).toContain('visurf::decode_layers');
  expect(within(update)).toContain('backward');
  expect(within(optimizer)).toContain('_fused_adamw_');
});

test('a trace is whole after Ctrl-C', async () => {
  const folder = await makeFolder({});
  const file = join(folder, 'mine.json');
  const args = ['train', join(folder, 'config.yaml'), 'steps=100000', 'checkpoint.every=3'];
  const profile = ['--profile', file, '--profile-steps', '99999'];
  const { code, stderr } = await signalAt('step 3: checkpoint', 'SIGINT', [...args, ...profile]);
  expect(code).toBe(130);
  const recorded = spansOf(file).filter(({ name }) => name.startsWith('step '));
  expect(recorded.length).toBeGreaterThan(0);
  expect(stderr).toMatch(new RegExp(`profile of ${recorded.length} steps? in ${file}`));
});

test('a run of one step records that', async () => {
  const folder = await makeFolder({});
  await visurfJson('train', join(folder, 'config.yaml'), '--profile', join(folder, 'one.json'));
  expect(spansOf(join(folder, 'one.json')).some(({ name }) => name === 'step 1')).toBe(true);
});

test('a file that cannot be the trace is refused', async () => {
  const folder = await makeFolder({});
  const config = join(folder, 'config.yaml');
  expectRefusal(await visurf('train', config, '--profile', 'steps=3'), 'writes a .json file, not steps=3');
  expectRefusal(await visurf('train', config, '--profile-steps', '3'), '--profile-steps goes with --profile');
  expectRefusal(await visurf('train', config, '--profile', '/nowhere/x.json'), '/nowhere/x.json', 'another file');
  expect(existsSync(join(folder, 'run'))).toBe(false);
});
