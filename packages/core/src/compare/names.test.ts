/** A run is what its name says, or the comparison is refused. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { valueAt } from '../config/keys.ts';
import { presets } from '../config/presets.ts';
import type { Config } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { PARADIGMS } from '../schedule/definitions.ts';
import { configOf, loadComparison } from './definition.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-names-'));
  process.env.XDG_STATE_HOME = folder;
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (name: string, text: string): void => writeFileSync(path.join(folder, name), text);

/** The configuration of a run of that name, over one that all share. */
function configOfRun(name: string, changes: object = {}, shared: object = {}): Config {
  const common = { model: 'm', output: 'o', steps: 4, sftSteps: 1, data: { train: 't.jsonl' }, ...shared };
  write('config.yaml', JSON.stringify(common));
  const comparison = { config: 'config.yaml', output: 'out', data: { held: 'h.jsonl' }, runs: { [name]: changes } };
  write('comparison.yaml', JSON.stringify(comparison));
  const loaded = loadComparison(path.join(folder, 'comparison.yaml'));
  return configOf(loaded, loaded.runs[0]!, 0);
}

const variants = Object.entries(presets);
const spellings = (name: string): string[] => [
  name.toUpperCase(),
  name.replaceAll('-', '_'),
  name.replaceAll('-', '.'),
  name.replaceAll('-', ''),
  `${name}-low`,
  `${name}.with.more`,
  `${name}_2`,
];

test.each(PARADIGMS)('%s: a run of that name trains it, whatever all share', (paradigm) => {
  for (const shared of ['visurf', 'sft'])
    expect(configOfRun(paradigm, {}, { paradigm: shared }).paradigm).toBe(paradigm);
});

test.each(variants)('%s: a run of that name is RLVR with that preset', (name, { settings }) => {
  const config = configOfRun(name);
  expect(config.paradigm).toBe('rlvr');
  for (const [key, value] of Object.entries(settings)) expect(valueAt(config, key), key).toEqual(value);
});

test.each([...PARADIGMS, ...Object.keys(presets)])('%s: no run has that name and trains another paradigm', (name) => {
  const other = name === 'sft' ? 'dft' : 'sft';
  for (const spelled of [name, ...spellings(name)]) {
    const train = () => configOfRun(spelled, { paradigm: other });
    expect(train, spelled).toThrow(UserError);
    expect(train, spelled).toThrow(`it is named after ${name}, and trains ${other}`);
  }
  for (const spelled of spellings(name).filter((each) => each !== name)) {
    expect(() => configOfRun(spelled, {}, { paradigm: other }), spelled).toThrow('or give it another name');
  }
});

test('whoever says in the run what it is may spell the name as they like', () => {
  expect(configOfRun('GRPO', { paradigm: 'rlvr', preset: 'grpo' }).paradigm).toBe('rlvr');
  expect(configOfRun('grpo-16', { paradigm: 'rlvr', preset: 'grpo', rollout: { group: 16 } }).rollout.group).toBe(16);
  expect(configOfRun('dapo-wide', { paradigm: 'rlvr', preset: 'dapo', 'objective.clip.high': 0.4 })).toBeDefined();
  expect(configOfRun('Dr.GRPO', {}, { paradigm: 'rlvr', preset: 'drgrpo' }).objective.std).toBe('none');
  expect(configOfRun('visurf-without-smooth', { label: { smooth: 'off' } }).paradigm).toBe('visurf');
  expect(configOfRun('sft-then-rlvr-low', { paradigm: 'sft-then-rlvr' }).paradigm).toBe('sft-then-rlvr');
  expect(configOfRun('no-smooth', { label: { smooth: 'off' } }).paradigm).toBe('visurf');
});

test('RLVR without what a preset sets is not that preset', () => {
  const train = () => configOfRun('DAPO', { paradigm: 'rlvr' });
  expect(train).toThrow('it is named after dapo, and trains rlvr without objective.clip.high=0.28');
  expect(() => configOfRun('gspo', { preset: 'grpo' })).toThrow('it is named after gspo, and trains rlvr without');
});

test.each(['ppo', 'DPO', 'reinforce_1', 'remax-2'])(
  '%s is no method of ours: the run must say what it trains',
  (name) => {
    expect(() => configOfRun(name)).toThrow('Name its paradigm in the run');
    expect(configOfRun(name, { paradigm: 'rlvr' }).paradigm).toBe('rlvr');
  },
);

test('a paradigm of a plugin gives its name as others do', () => {
  write(
    'own.ts',
    'import { defineParadigm } from "visurf";\n' +
      'export default defineParadigm({ name: "own-way", samples: true, label: "none", work: ({ promptsPerStep: prompts, ' +
      'rollout }) => ({ rl: 1, sft: 0, parts: [{ prompts, rollouts: rollout.group, label: "none" }] }) });\n',
  );
  expect(configOfRun('own-way', {}, { plugins: ['own.ts'] }).paradigm).toBe('own-way');
  expect(() => configOfRun('Own_Way', {}, { plugins: ['own.ts'] })).toThrow('it is named after own-way');
});
