import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
  closeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { live, nn, scope } from '@visurf/torch';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { UserError } from '../errors.ts';
import { oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import { parseModelConfig } from './config.ts';
import { loadModel } from './load.ts';
import { VisionLanguageModel } from '../model/vlm.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'load-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A 3B checkpoint's shapes, less layers where memory is to be used. */
const config = (layers: number, depth: number, vocabulary: number): Record<string, unknown> => ({
  model_type: 'qwen2_5_vl',
  hidden_size: 2048,
  intermediate_size: 11008,
  num_hidden_layers: layers,
  num_attention_heads: 16,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_scaling: { type: 'mrope', mrope_section: [16, 24, 24] },
  tie_word_embeddings: true,
  vocab_size: vocabulary,
  vision_config: {
    depth,
    hidden_size: 1280,
    intermediate_size: 3420,
    num_heads: 16,
    out_hidden_size: 2048,
    in_chans: 3,
  },
});

type Shapes = Map<string, readonly number[]>;

function shapesOf(json: Record<string, unknown>): Shapes {
  return scope(() => {
    const model = nn.outline(() => new VisionLanguageModel(parseModelConfig(json)));
    const shapes = new Map([...model.namedParameters()].map(([name, { shape }]) => [name, shape]));
    model.dispose();
    return shapes;
  });
}

const bytesOf = (shape: readonly number[]): number => 2 * shape.reduce((a, b) => a * b, 1);

/** A checkpoint whose tensors are holes: they take no disk. @param missing bytes cut off at the end */
function sparse(json: Record<string, unknown>, shapes: Shapes, missing = 0): number {
  writeFileSync(path.join(directory, 'config.json'), JSON.stringify(json));
  let offset = 0;
  const header: Record<string, unknown> = {};
  for (const [name, shape] of shapes) {
    header[name] = { dtype: 'BF16', shape, data_offsets: [offset, (offset += bytesOf(shape))] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(path.join(directory, 'model.safetensors'), 'w');
  writeSync(file, Buffer.concat([length, text]));
  ftruncateSync(file, 8 + text.length + offset - missing);
  closeSync(file);
  return offset;
}

function refusal(): string {
  const before = live();
  let message = '';
  try {
    loadModel(directory).dispose();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    ({ message } = error);
  }
  expect(live()).toEqual(before);
  return message;
}

describe('with the shapes of the 3B, before anything is read', () => {
  const json = config(36, 32, 151_936);
  const shapes = shapesOf(json);
  const up = 'model.layers.35.mlp.up_proj.weight';

  test('they are those of the published model: 3.75 billion parameters', () => {
    const parameters = [...shapes.values()].reduce((sum, shape) => sum + bytesOf(shape) / 2, 0);
    expect(parameters).toBe(3_754_622_976);
    expect(shapes.get(up)).toEqual([11008, 2048]);
  });

  test('a missing tensor is named', () => {
    sparse(json, new Map([...shapes].filter(([name]) => name !== up)));
    expect(refusal()).toContain(`the weights lack ${up}`);
  });

  test('an extra tensor is named', () => {
    sparse(json, new Map([...shapes, ['model.layers.36.mlp.up_proj.weight', [11008, 2048]]]));
    expect(refusal()).toContain('no place for: model.layers.36.mlp.up_proj.weight');
  });

  test('quantized weights are named as such', () => {
    const scale: [string, readonly number[]] = [`${up}_scale_inv`, [86, 16]];
    sparse({ ...json, quantization_config: { quant_method: 'fp8' } }, new Map([...shapes, scale]));
    expect(refusal()).toContain('weights that are quantized (fp8) cannot be read');
  });

  test('a misshapen tensor is named, with both shapes', () => {
    sparse(json, new Map([...shapes, [up, [2048, 11008]]]));
    expect(refusal()).toContain(`tensor ${up} has shape [2048, 11008], config.json asks for [11008, 2048]`);
  });

  test('a truncated tensor is named', () => {
    const last = [...shapes.keys()].at(-1)!;
    sparse(json, shapes, 3);
    expect(refusal()).toMatch(new RegExp(`truncated: .*${last.replaceAll('.', '\\.')}`));
  });
});

/** Anonymous memory of a process that loads the directory: the weights, and the highest use on the way. */
function footprint(dtype: 'auto' | 'float32'): { weights: number; peak: number } {
  const load = fileURLToPath(new URL('load.ts', import.meta.url));
  const program = `
    import { readFileSync } from 'node:fs';
    import { Worker } from 'node:worker_threads';
    import { info } from '@visurf/torch';
    const { loadModel } = await import(${JSON.stringify(load)});
    // What libtorch itself takes is no weights.
    info();
    const shared = new Int32Array(new SharedArrayBuffer(8));
    const watcher = new Worker(\`
      import { workerData as shared } from 'node:worker_threads';
      import { readFileSync } from 'node:fs';
      const anonymous = () => Number(/RssAnon:\\\\s+(\\\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
      while (!Atomics.load(shared, 1)) { shared[0] = Math.max(shared[0], anonymous()); Atomics.wait(shared, 1, 0, 1); }
    \`, { eval: true, workerData: shared });
    await new Promise((resolve) => watcher.on('online', resolve));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const before = shared[0];
    const model = loadModel(${JSON.stringify(directory)}, { dtype: '${dtype}' });
    const weights = model.parameters().reduce((sum, { numel, dtype }) => sum + numel * (dtype === 'bfloat16' ? 2 : 4), 0);
    Atomics.store(shared, 1, 1);
    Atomics.notify(shared, 1);
    console.log(JSON.stringify({ weights, peak: (shared[0] - before) * 1024 }));
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  if (!stdout) throw new Error(stderr);
  return JSON.parse(stdout) as { weights: number; peak: number };
}

test.skipIf(process.platform !== 'linux').each(['auto', 'float32'] as const)(
  'loading as %s takes at most 1.15 times the weights',
  (dtype) => {
    const json = config(1, 2, 4096);
    const file = sparse(json, shapesOf(json));
    const { weights, peak } = footprint(dtype);
    expect(weights / file).toBeCloseTo(dtype === 'auto' ? 1 : 2, 1);
    expect(peak / weights).toBeGreaterThan(0.9);
    expect(peak / weights).toBeLessThan(1.15);
  },
);

test('a bfloat16 checkpoint gives the same numbers in bfloat16, whether its matrices stay so or become float32', () => {
  const tiny = loadModel(tinyModel);
  const shapes = new Map([...tiny.namedParameters()].map(([name, { shape }]) => [name, shape]));
  sparse(JSON.parse(readFileSync(path.join(tinyModel, 'config.json'), 'utf8')) as Record<string, unknown>, shapes);
  const file = path.join(directory, 'model.safetensors');
  const content = readFileSync(file);
  let at = 8 + Number(content.readBigUInt64LE());
  for (const parameter of tiny.parameters()) {
    for (const value of new Uint32Array(parameter.toFloat32Array().buffer))
      at = content.writeUInt16LE(value >>> 16, at);
  }
  tiny.dispose();
  writeFileSync(file, content);
  copyFileSync(path.join(tinyModel, 'tokenizer.json'), path.join(directory, 'tokenizer.json'));

  const scores = (['float32', 'auto'] as const).map((dtype) => {
    const model = loadModel(directory, { dtype });
    model.precision = 'bfloat16';
    const items = oracleCases.map((each) => ({
      prompt: oraclePrompt(each),
      responses: each.responses.map(({ tokens }) => tokens),
    }));
    const [logProbs, first] = scope(() => {
      const { hidden, targets } = model.hidden(items);
      const { last } = model.prefill(items.map(({ prompt }) => prompt));
      return [Array.from(model.score(hidden, targets).logProbs), model.logits(last).toArray()];
    });
    expect(model.headWeight.dtype).toBe(dtype === 'auto' ? 'bfloat16' : 'float32');
    model.weightsChanged();
    model.dispose();
    return [...logProbs, ...first];
  });
  expect(scores[1]).toEqual(scores[0]);
});
