/** Random checkpoints with the shapes of real models, written tensor by tensor: none of them is ever in memory. */
import {
  closeSync,
  copyFileSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { parseModelConfig, VisionLanguageModel } from '@visurf/core/internals';
import { nn, scope } from '@visurf/torch';

/** The settings of Qwen2.5-VL-3B-Instruct as its config.json on the hub has them. */
export const shapesOf3B = {
  model_type: 'qwen2_5_vl',
  hidden_size: 2048,
  intermediate_size: 11008,
  num_hidden_layers: 36,
  num_attention_heads: 16,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1_000_000,
  rope_scaling: { type: 'mrope', mrope_section: [16, 24, 24] },
  tie_word_embeddings: true,
  vocab_size: 151_936,
  image_token_id: 151_655,
  video_token_id: 151_656,
  vision_start_token_id: 151_652,
  vision_end_token_id: 151_653,
  vision_config: {
    depth: 32,
    hidden_size: 1280,
    intermediate_size: 3420,
    num_heads: 16,
    in_chans: 3,
    out_hidden_size: 2048,
    patch_size: 14,
    spatial_merge_size: 2,
    temporal_patch_size: 2,
    window_size: 112,
    fullatt_block_indexes: [7, 15, 23, 31],
  },
};

/** Likewise, of Qwen2.5-VL-7B-Instruct. */
export const shapesOf7B = {
  ...shapesOf3B,
  hidden_size: 3584,
  intermediate_size: 18944,
  num_hidden_layers: 28,
  num_attention_heads: 28,
  num_key_value_heads: 4,
  tie_word_embeddings: false,
  vocab_size: 152_064,
  vision_config: { ...shapesOf3B.vision_config, out_hidden_size: 3584 },
};

export type ConfigJson = Record<string, unknown>;

/** Names and shapes of the tensors that a config asks for. */
export function shapesFor(config: ConfigJson): [string, readonly number[]][] {
  return scope(() => {
    const model = nn.outline(() => new VisionLanguageModel(parseModelConfig(config)));
    const shapes = [...model.namedParameters()].map(([name, { shape }]): [string, readonly number[]] => [name, shape]);
    model.dispose();
    return shapes;
  });
}

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Small numbers of both signs as bfloat16 or float32, 8 MB of them. */
function randomBlock(dtype: 'BF16' | 'F32'): Buffer {
  const values = Float32Array.from({ length: 1 << 21 }, () => (Math.random() - 0.5) * 0.04);
  if (dtype === 'F32') return Buffer.from(values.buffer);
  return Buffer.from(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer);
}

/**
 * Writes config.json and weights; tokenizer and image settings are those of the tests' tiny model.
 * @param hollow weights are zeros that take no room on disk
 * @returns bytes of the weights
 */
export function writeCheckpoint(
  directory: string,
  config: ConfigJson,
  dtype: 'BF16' | 'F32',
  { shardBytes = 4e9, hollow = false } = {},
): number {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config, null, 2));
  const tiny = fileURLToPath(new URL('../oracle/fixtures/tiny-qwen2_5-vl/model/', import.meta.url));
  for (const name of [
    'tokenizer.json',
    'tokenizer_config.json',
    'chat_template.jinja',
    'preprocessor_config.json',
    'processor_config.json',
  ]) {
    if (existsSync(join(tiny, name))) copyFileSync(join(tiny, name), join(directory, name));
  }
  const item = dtype === 'BF16' ? 2 : 4;
  const shards: [string, readonly number[]][][] = [[]];
  let filled = 0;
  for (const each of shapesFor(config)) {
    const bytes = count(each[1]) * item;
    if (filled + bytes > shardBytes && filled > 0) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(each);
    filled += bytes;
  }
  const block = hollow ? undefined : randomBlock(dtype);
  const map: Record<string, string> = {};
  let total = 0;
  shards.forEach((tensors, i) => {
    const number = (n: number): string => String(n).padStart(5, '0');
    const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    total += writeShard(join(directory, file), tensors, dtype, item, block);
    for (const [name] of tensors) map[name] = file;
  });
  const index = { metadata: { total_size: total }, weight_map: map };
  writeFileSync(join(directory, 'model.safetensors.index.json'), JSON.stringify(index));
  return total;
}

function writeShard(
  file: string,
  tensors: readonly [string, readonly number[]][],
  dtype: string,
  item: number,
  block: Buffer | undefined,
): number {
  let offset = 0;
  const entries = tensors.map(([name, shape]) => {
    const start = offset;
    offset += count(shape) * item;
    return [name, { dtype, shape, data_offsets: [start, offset] }] as const;
  });
  const json = JSON.stringify(Object.fromEntries(entries));
  const header = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const handle = openSync(file, 'w');
  writeSync(handle, length);
  writeSync(handle, header);
  if (!block) ftruncateSync(handle, length.length + header.length + offset);
  else for (let left = offset; left > 0;) left -= writeSync(handle, block, 0, Math.min(left, block.length));
  closeSync(handle);
  return offset;
}

/** Of the tests' tiny model. */
export const tinyShapes = JSON.parse(
  readFileSync(new URL('../oracle/fixtures/tiny-qwen2_5-vl/model/config.json', import.meta.url), 'utf8'),
) as { text_config: ConfigJson; vision_config: ConfigJson };

/** A model of the family with these widths; everything else as in the tiny one. */
export function sizedModel(text: ConfigJson, vision: ConfigJson): ConfigJson {
  const rope_parameters = { rope_type: 'default', rope_theta: 1e6, mrope_section: [8, 12, 12] };
  return {
    ...tinyShapes,
    text_config: { ...tinyShapes.text_config, layer_types: undefined, rope_parameters, ...text },
    vision_config: { ...tinyShapes.vision_config, out_hidden_size: text.hidden_size, ...vision },
  };
}
