import { expect, test } from 'vitest';
import { PARADIGMS } from '../schedule/paradigm.ts';
import { keyUsers, LEAVES, leafOf, usesKey } from './keys.ts';
import { paradigmDefaults } from './paradigm.ts';

test('a key is used by those that it names, else by those of its section', () => {
  expect(keyUsers('rollout.group')).not.toContain('sft');
  expect(keyUsers('rollout.maxNewTokens')).toEqual(PARADIGMS);
  expect(keyUsers('label.align')).toEqual(PARADIGMS.filter((each) => each !== 'rlvr'));
  expect(keyUsers('label.smooth')).toEqual(['visurf', 's-grpo', 'luffy']);
  expect(keyUsers('objective.clip.low')).toEqual(PARADIGMS.filter((each) => each !== 'sft' && each !== 'dft'));
  expect(keyUsers('mix.weight.start')).toEqual(['progressive', 'chord']);
  expect(keyUsers('optimizer.learningRate')).toEqual(PARADIGMS);
  expect(keyUsers('label')).toEqual(keyUsers('label.align'));
  expect(keyUsers('tasks.click.weights.thinking')).toEqual(PARADIGMS);
  expect(keyUsers('nothing')).toEqual(PARADIGMS);
});

test('a paradigm uses the keys that it has defaults for, and the schema takes them', () => {
  const given = PARADIGMS.flatMap((paradigm) => paradigmDefaults(paradigm).map((each) => [paradigm, ...each] as const));
  expect(given).toContainEqual(['luffy', 'objective.labelShaping', 0.1]);
  for (const [paradigm, key, value] of given) {
    expect(usesKey(paradigm, key), key).toBe(true);
    expect(leafOf(key)?.schema.parse(value)).toBe(value);
  }
});

test('every key says what it means, and every value of a choice', () => {
  for (const { key, meaning, schema } of LEAVES) {
    expect(meaning, key).not.toBe('');
    for (const value of choices(schema)) expect(meaning, key).toContain(`\`${value}\``);
  }
});

/** The values that a schema gives as a choice, in its own words. */
function choices(schema: (typeof LEAVES)[number]['schema']): string[] {
  const [issue] = schema.safeParse('no such value').error?.issues ?? [];
  return issue?.code === 'invalid_value' ? issue.values.map(String) : [];
}

test('what a change does to a run that goes on', () => {
  const of = (key: string) => leafOf(key)?.effect;
  expect(['output', 'steps', 'eval.limit', 'plugins'].map(of)).toEqual(Array(4).fill('harmless'));
  expect(['seed', 'rollout.group', 'task.weights', 'train.lora.dropout'].map(of)).toEqual(Array(4).fill('course'));
  expect(['model', 'train.lora.rank', 'optimizer.name', 'data.train'].map(of)).toEqual(Array(4).fill('breaks'));
});
