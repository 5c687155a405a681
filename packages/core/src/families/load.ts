/** A model directory in Hugging Face layout becomes a model: every tensor is copied once, and every mistake is named. */
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

import {
  callOp,
  empty,
  full,
  isOutOfMemory,
  Nf4,
  nn,
  openSafetensors,
  scope,
  TorchError,
  type Device,
  type FloatDType,
  type SafetensorsIndex,
  type Tensor,
} from '@visurf/torch';

import { UserError } from '../errors.ts';
import { readText } from '../regular.ts';
import { loadModelConfig } from './config.ts';
import { requirePlausible } from './plausible.ts';
import type { ModelConfig } from '../model/config.ts';
import { projections, type Projection } from '../model/projection.ts';
import { VisionLanguageModel } from '../model/vlm.ts';

export interface LoadOptions {
  /**
   * Of the weights in memory. `auto`, for inference in bfloat16: matrices that the file has in bfloat16 stay so (the
   * numbers are the same, the memory is half), everything else is float32.
   */
  readonly dtype?: FloatDType | 'auto' | undefined;
  readonly device?: Device;
  /** Linear layers of the decoder in four bits, as bitsandbytes packs them: frozen, for adapters to be trained on. */
  readonly quantize?: 'nf4' | undefined;
}

const head = 'lm_head.weight';
const embedding = 'model.embed_tokens.weight';

/**
 * As in the reference, weights have the last word about a tied head: a file that holds both matrices with different
 * values is untied whatever its config says, and either of them alone serves for both.
 */
function withHeadOf(weights: SafetensorsIndex, config: ModelConfig): ModelConfig {
  const [embedded, own] = [embedding, head].map((key) =>
    config.family.keys.inFile(key).find((each) => weights.has(each)),
  );
  if (!config.text.tiedHead || embedded === undefined || own === undefined) return config;
  const equal = scope(() => {
    const [a, b] = [weights.get(embedded), weights.get(own)];
    return a.shape.join() === b.shape.join() && a.dtype === b.dtype && (callOp('equal', a, b) as boolean);
  });
  return equal ? config : { ...config, text: { ...config.text, tiedHead: false } };
}

/** Buffers that some versions saved beside the weights; they follow from the config. */
const isBuffer = (name: string): boolean => name.endsWith('.inv_freq');

const listed = (names: readonly string[]): string =>
  names.slice(0, 5).join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : '');

/** The sum is a cheap first look: what is not finite stays so in it. */
const isFinite = (values: Tensor): boolean =>
  Number.isFinite(values.sum().item()) || (callOp('all', callOp('isfinite', values)) as Tensor).item() === 1;

/** What to do about weights that cannot be read. */
function remedyFor(directory: string): string {
  const names = readdirSync(directory).filter((name) => name.endsWith('.safetensors'));
  if (names.length === 0)
    return 'A model is a directory in the Hugging Face layout: config.json, tokenizer.json, *.safetensors.';
  const pointer = names.find((name) => readFirst(join(directory, name), 8) === 'version ');
  return pointer
    ? `${pointer} is a Git LFS pointer: fetch the file itself (git lfs pull).`
    : 'Copy the checkpoint again.';
}

/** By which method `config.json` says that weights are packed in fewer bits. */
function quantizationOf(directory: string): string | undefined {
  const { quantization_config: packed } = JSON.parse(readText(join(directory, 'config.json'))) as {
    quantization_config?: { quant_method?: string } | null;
  };
  return packed ? (packed.quant_method ?? 'an unknown method') : undefined;
}

function readFirst(file: string, bytes: number): string {
  if (!statSync(file).isFile()) return '';
  const handle = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(bytes);
    return buffer.toString('latin1', 0, readSync(handle, buffer));
  } finally {
    closeSync(handle);
  }
}

const remedy = 'config.json and the weights must come from the same checkpoint';
const printed = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

/** The name in the file of every parameter's tensor; everything is checked before the first is read. */
function namesInFile(model: VisionLanguageModel, weights: SafetensorsIndex, where: string): Map<string, string> {
  const { text, family } = model.config;
  const tied = text.tiedHead;
  const unused = new Set(weights.names.filter((name) => !isBuffer(name) && !family.ignored?.names.test(name)));
  const names = new Map<string, string>();
  const missing: string[] = [];
  const heads = family.keys.inFile(head);
  for (const [key, { shape }] of model.namedParameters()) {
    const inFile = family.keys.inFile(key);
    const possible = key === embedding && tied ? [...inFile, ...heads] : inFile;
    const name = possible.find((each) => weights.has(each));
    if (name === undefined) {
      missing.push(key);
      continue;
    }
    const saved = weights.shapeOf(name);
    if (saved.join() !== shape.join()) {
      const message = `tensor ${name} has shape ${printed(saved)}, config.json asks for ${printed(shape)}`;
      throw new UserError(message, { where });
    }
    unused.delete(name);
    names.set(key, name);
  }
  if (tied) for (const each of heads) unused.delete(each);
  if (missing.length > 0) throw new UserError(`the weights lack ${listed(missing)}`, { where, remedy });
  if (unused.size > 0) {
    const extra = listed([...unused]);
    throw new UserError(`the weights hold tensors that the model has no place for: ${extra}`, { where, remedy });
  }
  return names;
}

/** Whose products are taken in bfloat16 anyway; norms, positions, decays and convolutions meet activations as they are. */
export const isMatrix = (key: string): boolean => !/norm|ln_q|patch_embed|pos_embed|conv1d|A_log|dt_bias/.test(key);

/**
 * Layers whose weights are kept in four bits, by the key of the weight: all linear ones of the decoder's layers. The
 * tower, embeddings and the head stay as they are, as with `llm_int8_skip_modules: [model.visual, lm_head]` in transformers.
 */
export function packedProjections(model: VisionLanguageModel): Map<string, Projection> {
  const own = [...projections(model)].filter(([path]) => path.startsWith('model.layers.'));
  return new Map(own.map(([path, projection]) => [`${path}.weight`, projection]));
}

/**
 * Loads config and weights. The file is mapped, and every tensor is copied from it once, to its place and dtype.
 * @throws UserError when files or tensors are missing, extra, misshapen or truncated.
 */
export function loadModel(
  directory: string,
  { dtype = 'float32', device = 'cpu', quantize }: LoadOptions = {},
): VisionLanguageModel {
  const described = loadModelConfig(directory);
  try {
    using weights = openSafetensors(directory);
    requirePlausible(described, weights, directory);
    const config = withHeadOf(weights, described);
    const model = nn.outline(() => new VisionLanguageModel(config));
    const dtypeOf = (key: string, name: string): FloatDType => {
      if (dtype !== 'auto') return dtype;
      return isMatrix(key) && weights.dtypeOf(name) === 'bfloat16' ? 'bfloat16' : 'float32';
    };
    try {
      const names = namesInFile(model, weights, directory);
      const packed = quantize ? packedProjections(model) : undefined;
      model.replaceParameters((key, { shape }) => {
        const name = names.get(key) ?? key;
        const projection = packed?.get(key);
        const options = { dtype: dtypeOf(key, name), device: projection ? 'cpu' : device };
        const copy = empty(shape, options).copy_(weights.get(name).to({ device: options.device }));
        if (!isFinite(copy)) {
          throw new UserError(`tensor ${name} holds values that are not finite`, {
            where: directory,
            remedy: 'The training that wrote it has diverged: take an earlier checkpoint.',
          });
        }
        if (!projection) return copy;
        projection._nf4 = new Nf4(copy, device);
        // Of its shape, in no memory; whoever reads it by mistake finds out.
        return full([], NaN, { dtype: options.dtype, device }).expand(...shape);
      });
    } catch (error) {
      model.dispose();
      throw error;
    }
    return model;
  } catch (error) {
    const isTorch = error instanceof TorchError;
    if (!(isTorch || error instanceof UserError) || isOutOfMemory(error)) throw error;
    const { message } = error;
    const method = quantizationOf(directory);
    if (method !== undefined) {
      throw new UserError(`weights that are quantized (${method}) cannot be read`, {
        where: directory,
        remedy: 'Take the checkpoint as it was before; train.lora.quantize packs its decoder in four bits.',
        cause: error,
      });
    }
    if (!isTorch) throw error;
    const where = message.includes(directory) ? undefined : directory;
    throw new UserError(message, { where, remedy: remedyFor(directory), cause: error });
  }
}
