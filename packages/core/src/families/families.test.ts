import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';

import { nn } from '@visurf/torch';
import { expect, onTestFinished, test } from 'vitest';

import { UserError } from '../errors.ts';
import { parseModelConfig } from './config.ts';
import { VisionLanguageModel } from '../model/vlm.ts';
import { PromptEncoder } from '../prompt/encoder.ts';
import { tinyModel } from '../testing/oracle.ts';
import { families, familyOf } from './index.ts';

const packages = resolve(import.meta.dirname, '../../..');
const sources = globSync('*/src/**/*.ts', { cwd: packages }).filter((file) => !file.endsWith('.test.ts'));

/** Files that name a family: its `model_type`, or its title where that is not part of a model's name on the hub. */
function filesNaming({ name, title }: (typeof families)[number]): string[] {
  const words = new RegExp(`\\b${name}\\b|(?<![\\w/-])${RegExp.escape(title)}(?!-\\d|\\w)`);
  return sources.filter((file) => words.test(readFileSync(join(packages, file), 'utf8')));
}

test.each(families)('$title is one folder: nothing else in the sources names it but the list of families', (family) => {
  const registry = relative(packages, import.meta.dirname);
  const others = filesNaming(family).filter((file) => dirname(file) !== join(registry, family.name));
  expect(others).toEqual([join(registry, 'index.ts')]);
});

test('names and titles tell families apart', () => {
  expect(new Set(families.flatMap(({ name, title }) => [name, title])).size).toBe(2 * families.length);
  for (const family of families) expect(familyOf(family.name)).toBe(family);
});

const known = [...families.map(({ name }) => name)].sort().join(', ');

test.each([
  'qwen3_vl_moe',
  'qwen2_5_vl_text',
  'Qwen2_VL',
  '',
  'constructor',
  'toString',
  null,
  undefined,
  7,
  ['qwen2_vl'],
])('model_type %j is refused, with the known ones named, by the model and by its prompts', (type) => {
  const directory = mkdtempSync(join(tmpdir(), 'family-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const config = {
    ...(JSON.parse(readFileSync(join(tinyModel, 'config.json'), 'utf8')) as object),
    model_type: type,
  };
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config));
  for (const open of [() => parseModelConfig(config), () => PromptEncoder.load(directory)]) {
    expect(open).toThrow(UserError);
    expect(open).toThrow('model_type');
    expect(open).toThrow(known);
  }
});

test('no object, no model', () => {
  for (const value of [null, [], 'qwen2_vl', 3]) expect(() => parseModelConfig(value)).toThrow(known);
});

test.each(families)('$title: keys come back from whatever name a file or the reference gives them', (family) => {
  const file = { model_type: family.name, text_config: small, vision_config: narrow };
  const config = parseModelConfig(file);
  const model = nn.outline(() => new VisionLanguageModel(config));
  for (const key of model.namedParameters().keys()) {
    const { inFile, own, reference } = family.keys;
    for (const name of [...inFile(key), reference(key)]) expect(own(name)).toBe(key);
  }
});

/** The names of all families at once: each reads its own. */
const narrow = {
  embed_dim: 8,
  hidden_size: 8,
  out_hidden_size: 8,
  intermediate_size: 8,
  num_heads: 2,
  num_attention_heads: 2,
  depth: 2,
  num_hidden_layers: 2,
  deepstack_visual_indexes: [0],
};
const small = {
  ...{ hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, intermediate_size: 8 },
  ...{
    vocab_size: 16,
    head_dim: 4,
    rope_theta: 1e4,
    rope_scaling: { type: 'mrope', mrope_section: [1, 1, 0], partial_rotary_factor: 0.5 },
  },
};
