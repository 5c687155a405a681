import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { refuseChanges } from '../run/changes.ts';
import { PARADIGMS } from '../schedule/paradigm.ts';
import { keyUsers, LEAVES, leafOf, usesKey } from './keys.ts';
import { parseConfig } from './load.ts';
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

/** Keys whose change leaves the steps to come as they are. */
const HARMLESS =
  'output threads plugins data.allowOutside data.maxImagePixels steps epochs reward.seconds ' +
  'reward.retries reward.onFailure reward.processes rollout.servers rollout.serverCommand ' +
  'rollout.serverFolder rollout.timeout rollout.concurrent distributed.timeout ' +
  'train.offloadActivations eval.every eval.patience ' +
  'eval.limit eval.maxNewTokens record.tokens record.images checkpoint.every checkpoint.keep';
/** Keys that what was saved does not fit any more. */
const BREAKING =
  'model base revision data.train data.split optimizer.name optimizer.states train.freezeVision ' +
  'train.lora.rank train.lora.alpha train.lora.rsLora train.lora.targets train.lora.vision train.lora.quantize';

test('what a change does to a run that goes on: every key is of one of three kinds', () => {
  const of = (kind: string): string[] => LEAVES.filter(({ effect }) => effect === kind).map(({ key }) => key);
  expect(of('harmless').join(' ')).toBe(HARMLESS);
  expect(of('breaks').join(' ')).toBe(BREAKING);
});

test('another value of any key is let be, taken as another course where that is asked for, or refused', () => {
  const before = parseConfig({ model: '/m', output: '/o', steps: 3, data: { train: '/t.jsonl' } });
  const said = (key: string, mayTurn: boolean, value = 'another value'): string => {
    const after = structuredClone(before);
    const parts = key.split('.');
    let at = after as unknown as Record<string, unknown>;
    for (const part of parts.slice(0, -1)) at = (at[part] ??= {}) as Record<string, unknown>;
    at[parts.at(-1)!] = value;
    try {
      refuseChanges(before, after, { directory: '/run', mayTurn });
      return 'let be';
    } catch (error) {
      return /does not fit|--from STEP/.exec((error as Error).message)![0];
    }
  };
  const outcomes = { harmless: ['let be', 'let be'], course: ['--from STEP', 'let be'], breaks: ['does not fit', 'does not fit'] }; // prettier-ignore
  for (const { key, effect } of LEAVES)
    expect([key, said(key, false), said(key, true)]).toEqual([key, ...outcomes[effect]]);
  // What lies at another place may be the same: that is known by what it holds.
  expect(said('model', false, '/moved/m')).toBe('let be');
});

test('every key is read outside of the configuration, by its name', () => {
  const root = path.join(import.meta.dirname, '..');
  const sources = readdirSync(root, { recursive: true })
    .map(String)
    .filter((file) => file.endsWith('.ts') && !/^config\/|\.test\.ts$|^testing\//.test(file));
  const words = new Set(sources.flatMap((file) => readFileSync(path.join(root, file), 'utf8').match(/\w+/g) ?? []));
  const unread = LEAVES.filter(({ key }) => !words.has(key.slice(key.lastIndexOf('.') + 1))).map(({ key }) => key);
  expect(unread).toEqual([]);
});
