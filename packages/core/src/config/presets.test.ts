import { parse } from 'yaml';
import { expect, test } from 'vitest';
import { configToYaml, parseConfig } from './load.ts';
import type { Config } from './schema.ts';

const minimal = { model: 'base', output: 'o', steps: 10, data: { train: 't.jsonl' }, paradigm: 'rlvr' };
const config = (changes: object): Config => parseConfig({ ...minimal, ...changes });

/** What the published variants turn, written down by hand; all the rest is as without a preset. */
const expected: Record<string, readonly unknown[]> = {
  none: ['sum', 'sequence', 512, 'sample', 'mean', 'token', 0.2, 0.2, 1],
  grpo: ['mean', 'sequence', 1, 'sample', 'mean', 'token', 0.2, 0.2, 1],
  drgrpo: ['sum', 'sequence', 512, 'none', 'mean', 'token', 0.2, 0.2, 1],
  dapo: ['mean', 'batch', 1, 'sample', 'mean', 'token', 0.2, 0.28, 10],
  gspo: ['mean', 'sequence', 1, 'sample', 'mean', 'sequence', 3e-4, 4e-4, 1],
  rloo: ['sum', 'sequence', 512, 'none', 'leave-one-out', 'token', 0.2, 0.2, 1],
};

const turned = ({ objective: { aggregate, std, baseline, ratio, clip }, rollout }: Config): unknown[] => [
  ...[aggregate.tokens, aggregate.over, aggregate.normalizer, std, baseline, ratio],
  ...[clip.low, clip.high, rollout.dynamicSampling],
];

test.each(Object.entries(expected))('preset: %s', (preset, values) => {
  const made = config(preset === 'none' ? {} : { preset });
  expect(turned(made)).toEqual(values);
  const plain = config({});
  const { aggregate, std, baseline, ratio, clip } = plain.objective;
  const rest = { ...made.objective, aggregate, std, baseline, ratio, clip };
  expect({ ...made, objective: rest, rollout: plain.rollout }).toEqual(plain);
  expect(made.objective.kl.coefficient).toBe(0);
});

test.each(Object.keys(expected).slice(1))(
  'a run of %s saves what it is, which reads back to the same run',
  (preset) => {
    for (const paradigm of ['rlvr', 'visurf', 'luffy']) {
      const made = config({ preset, paradigm });
      const saved = configToYaml(made);
      expect(saved).not.toContain('preset');
      expect(parseConfig(parse(saved))).toEqual(made);
    }
  },
);

test('what is written wins, key by key', () => {
  const objective = { clip: { high: 0.5 }, aggregate: { over: 'sequence' } };
  expect(turned(config({ preset: 'dapo', objective, rollout: { dynamicSampling: 1 } }))).toEqual([
    ...['mean', 'sequence', 1, 'sample', 'mean', 'token', 0.2, 0.5, 1],
  ]);
  expect(config({ preset: 'dapo', objective: { kl: { coefficient: 0.1 } } }).objective.kl.coefficient).toBe(0.1);
  expect(config({ preset: 'drgrpo', objective: { aggregate: { normalizer: 7 } } }).objective.aggregate.normalizer).toBe(
    7,
  );
  expect(() => config({ preset: 'rloo', objective: { std: 'sample' } })).toThrow('leave-one-out goes with std: none');
});

test('a preset is for paradigms that sample, and fills in what they use', () => {
  expect(() => config({ preset: 'grpo', paradigm: 'sft' })).toThrow('the paradigm sft does not use preset');
  expect(config({ preset: 'dapo', paradigm: 'chord' }).rollout.dynamicSampling).toBe(1);
  expect(config({ preset: 'dapo', paradigm: 'chord' }).objective.clip.high).toBe(0.28);
  for (const preset of ['ppo', 'toString', 3, null]) expect(() => config({ preset })).toThrow('preset');
});
