/**
 * PEFT's files: `adapter_config.json` and `adapter_model.safetensors`, as peft 0.21 reads and writes them.
 *
 * The files are untrusted. What is adapted is read from the names of the tensors, so `target_modules`, which may be a
 * regular expression, is carried along and never run. Kinds of adapters that would need more than A and B are refused.
 */
import { existsSync, realpathSync, writeFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';

import { noGrad, SafetensorsFile, saveSafetensors, scope, TorchError, type Tensor } from '@visurf/torch';
import { z } from 'zod';

import { fileError, messageOf, UserError } from '../errors.ts';
import { readText } from '../regular.ts';
import { adapterParameters, adaptersOf, attachAdapters, targeted, type LoraSettings } from './lora.ts';
import type { Keys } from './keys.ts';
import { projections } from './projection.ts';
import type { VisionLanguageModel } from './vlm.ts';

export const adapterConfigFile = 'adapter_config.json';
export const adapterWeightsFile = 'adapter_model.safetensors';
const prefix = 'base_model.model.';

/** What PEFT's fields hold where a feature is not used. */
const isNothing = (value: unknown): boolean =>
  value === null || value === false || (typeof value === 'object' && Object.keys(value).length === 0);

const pattern = z.string().max(10_000);
const none = (what: string) => z.unknown().refine(isNothing, `${what} is not supported`).optional();

const configSchema = z.looseObject({
  peft_type: z.literal('LORA', 'only LoRA adapters are supported'),
  base_model_name_or_path: z.string().nullish(),
  /** Commit of a base on the hub. */
  revision: z.string().nullish(),
  r: z.int().positive(),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(0.999).default(0),
  use_rslora: z.boolean().default(false),
  target_modules: z.union([pattern, z.array(pattern)]).nullish(),
  bias: z.literal('none', 'training of biases is not supported').default('none'),
  // Other ways to begin (PiSSA, OLoRA, LoftQ ...) change the base weights, too.
  init_lora_weights: z
    .union([z.boolean(), z.enum(['gaussian', 'eva', 'orthogonal'])], 'this initialisation is not supported')
    .default(true),
  rank_pattern: none('a rank per module'),
  alpha_pattern: none('an alpha per module'),
  modules_to_save: none('training of whole modules beside the adapter'),
  trainable_token_indices: none('training of single tokens'),
  target_parameters: none('adapting parameters that are no modules'),
  layer_replication: none('replication of layers'),
  use_dora: none('DoRA'),
  use_qalora: none('QALoRA'),
  use_bdlora: none('BD-LoRA'),
  lora_bias: none('a bias of B'),
  alora_invocation_tokens: none('activated LoRA'),
});

/** `adapter_config.json` as it is; fields that we do not know are kept. */
export type PeftConfig = z.output<typeof configSchema>;

/** Whether a directory holds an adapter rather than a whole model. */
export const isAdapterDirectory = (directory: string): boolean => existsSync(join(directory, adapterConfigFile));

/** @throws UserError where the file is missing, malformed, or asks for more than LoRA. */
export function readPeftConfig(directory: string): PeftConfig {
  const where = join(directory, adapterConfigFile);
  try {
    return configSchema.parse(JSON.parse(readText(where)));
  } catch (error) {
    const known = fileError(error, { where });
    if (known instanceof UserError) throw known;
    if (!(error instanceof z.ZodError)) throw new UserError(messageOf(error), { where });
    const [issue] = error.issues;
    throw new UserError(`${issue?.path.join('.')}: ${issue?.message}`, { where });
  }
}

/**
 * Directory of the model that an adapter belongs to, as its file names it: relative to the adapter, to the working
 * directory, or absolute; undefined where none of these is a model.
 */
export function baseDirectory(adapter: string): string | undefined {
  const { base_model_name_or_path: base } = readPeftConfig(adapter);
  if (!base) return undefined;
  const real = realpathSync(adapter);
  // The best checkpoint of a run that was copied without links lies one folder higher than where it was written.
  const written = basename(real) === 'best' ? [join(dirname(real), 'checkpoints', 'best')] : [];
  const candidates = isAbsolute(base)
    ? [base]
    : [...[real, ...written].map((from) => resolve(from, base)), resolve(base)];
  return candidates.find((each) => existsSync(join(each, 'config.json')));
}

/** Why an adapter cannot be put on its base, and what to do. */
export function missingBase(adapter: string): UserError {
  const { base_model_name_or_path: base, revision } = readPeftConfig(adapter);
  const named = base && (revision ? `${base}, revision ${revision},` : base);
  return new UserError(named ? `its base model ${named} is no directory here` : 'names no base model', {
    where: join(adapter, adapterConfigFile),
    remedy: 'Say where it is: --base DIR on the command line, base: DIR in a configuration.',
  });
}

/** What an adapter was made with; which modules it has, its tensors say. */
export const settingsOf = (config: PeftConfig): LoraSettings => ({
  rank: config.r,
  alpha: config.lora_alpha,
  dropout: config.lora_dropout,
  rsLora: config.use_rslora,
  vision: true,
});

/**
 * Modules that the adapter of a directory has tensors for, by their paths in the reference.
 * @throws UserError where it has none
 */
export function adaptedModules(directory: string, { own, reference }: Keys): string[] {
  try {
    using file = new SafetensorsFile(weightsOf(directory));
    return [...new Set(file.names.map((name) => reference(own(moduleOf(name).module))))];
  } catch (error) {
    if (error instanceof TorchError) throw new UserError(error.message, { where: directory, cause: error });
    throw error;
  }
}

function weightsOf(directory: string): string {
  const where = join(directory, adapterWeightsFile);
  if (existsSync(where)) return where;
  throw new UserError(`${adapterWeightsFile} is missing`, {
    where: directory,
    remedy: 'weights must be safetensors: .bin files can run code when they are opened',
  });
}

function moduleOf(name: string): { module: string; factor: string } {
  const [, module = '', factor = ''] = /^base_model\.model\.(.+)\.(lora_[AB])\.weight$/.exec(name) ?? [];
  return { module, factor };
}

/**
 * Puts the adapter of a directory on a model and freezes all other weights.
 * @throws UserError naming tensors that are missing, extra or misshapen.
 */
export function loadAdapter(model: VisionLanguageModel, directory: string): PeftConfig {
  const { own, reference } = model.config.family.keys;
  const config = readPeftConfig(directory);
  const where = weightsOf(directory);
  try {
    using file = new SafetensorsFile(where);
    const known = projections(model);
    const tensors = new Map<string, { name: string; module: string }>();
    for (const name of file.names) {
      const { module, factor } = moduleOf(name);
      // Older transformers had other paths in memory.
      const path = own(module);
      const projection = known.get(path);
      if (!projection) throw new UserError(`the model has no place for tensor ${name}`, { where });
      const [outputs, inputs] = projection.weight.shape;
      requireShape(file, name, factor === 'lora_A' ? [config.r, inputs] : [outputs, config.r], where);
      tensors.set(`${path}.${factor}.weight`, { name, module: path });
    }
    const modules = new Set([...tensors.values()].map(({ module }) => module));
    if (modules.size === 0) throw new UserError('the adapter is empty', { where });
    requireListed(config, new Map([...known.keys()].map((path) => [path, reference(path)])), modules, where);
    attachAdapters(model, [...modules], settingsOf(config));
    for (const [key, parameter] of adapterParameters(model)) {
      const name = tensors.get(key)?.name;
      if (name === undefined) throw new UserError(`tensor ${prefix}${reference(key)} is missing`, { where });
      scope(() => noGrad(() => parameter.copy_(file.get(name))));
    }
    return config;
  } catch (error) {
    if (error instanceof TorchError) throw new UserError(error.message, { where: directory, cause: error });
    throw error;
  }
}

/**
 * Keeps the weights of an adapter's directory beside those of the model's adapters, as what they started from.
 * @throws UserError where it is the adapter of other modules
 */
export function keepStart(model: VisionLanguageModel, directory: string): void {
  const { own, reference } = model.config.family.keys;
  const where = join(directory, adapterWeightsFile);
  using file = new SafetensorsFile(where);
  const names = new Map(file.names.map((name) => [own(name.slice(prefix.length)), name] as const));
  for (const [path, adapter] of adaptersOf(model)) {
    const read = (factor: 'lora_A' | 'lora_B', like: Tensor): Tensor => {
      const name = names.get(`${path}.${factor}.weight`);
      if (name === undefined)
        throw new UserError(`tensor ${prefix}${reference(path)}.${factor}.weight is missing`, { where });
      return file.get(name).to({ dtype: like.dtype, device: like.device });
    };
    scope(() => noGrad(() => adapter.keepStart(read('lora_A', adapter.A), read('lora_B', adapter.B))));
  }
}

/** Before any memory is taken for it. */
function requireShape(file: SafetensorsFile, name: string, expected: readonly unknown[], where: string): void {
  const shape = file.shapeOf(name).join(', ');
  if (shape === expected.join(', ')) return;
  throw new UserError(`tensor ${name} has shape [${shape}], r and the base model ask for [${expected.join(', ')}]`, {
    where,
    remedy: 'is the adapter one of this model? adapter_config.json names its base',
  });
}

/**
 * A name in a list of target modules that meets the language model must have brought tensors with it.
 * @param paths of the reference, by ours
 */
function requireListed(
  { target_modules: targets, exclude_modules: excluded, layers_to_transform: layers }: PeftConfig,
  paths: ReadonlyMap<string, string>,
  modules: ReadonlySet<string>,
  where: string,
): void {
  if (!Array.isArray(targets) || excluded || layers) return;
  const without = [...paths].flatMap(([path, name]) => (path.startsWith('model.') && !modules.has(path) ? [name] : []));
  const [missing] = targeted(without, targets);
  if (missing === undefined) return;
  throw new UserError(`tensor ${prefix}${missing}.lora_A.weight is missing`, { where });
}

/**
 * What PEFT has to read to find the same modules again.
 * @param base directory of the model; an adapter's files name it relative to themselves
 */
export function makePeftConfig(model: VisionLanguageModel, settings: LoraSettings, base: string): PeftConfig {
  const { reference } = model.config.family.keys;
  const modules = [...projections(model)].flatMap(([path, { lora }]) => (lora ? [reference(path)] : []));
  return configSchema.parse({
    auto_mapping: autoMapping(base),
    base_model_name_or_path: resolve(base),
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: settings.alpha,
    lora_dropout: settings.dropout,
    peft_type: 'LORA',
    r: settings.rank,
    target_modules: shortNames(model, modules, settings.targets),
    task_type: null,
    use_dora: false,
    use_rslora: settings.rsLora,
  });
}

/** The shortest list that PEFT expands to these modules and no others: names where they suffice, else whole paths. */
function shortNames(model: VisionLanguageModel, modules: string[], targets: LoraSettings['targets']): string[] {
  const { reference } = model.config.family.keys;
  const all = new Set([...model.namedParameters().keys()].map((key) => reference(key.replace(/\.(lora\.)?\w+$/, ''))));
  const last = (path: string): string => path.slice(path.lastIndexOf('.') + 1);
  const names = Array.isArray(targets) ? [...(targets as string[])] : [...new Set(modules.map(last))];
  const met = targeted([...all], names);
  return met.length === modules.length ? names.sort() : modules;
}

/** The class by which PEFT opens the base model. */
function autoMapping(base: string): Record<string, string> | null {
  const file = join(base, 'config.json');
  if (!existsSync(file)) return null;
  const { architectures, model_type: type } = JSON.parse(readText(file)) as Record<string, unknown>;
  const [name] = Array.isArray(architectures) ? (architectures as unknown[]) : [];
  if (typeof name !== 'string' || typeof type !== 'string') return null;
  return { base_model_class: name, parent_library: `transformers.models.${type}.modeling_${type}` };
}

/** Tensors of the adapter by their names in a file. */
export function adapterTensors(model: VisionLanguageModel): (readonly [string, Tensor])[] {
  const { reference } = model.config.family.keys;
  return [...adapterParameters(model)].map(([key, each]) => [prefix + reference(key), each] as const);
}

/** Writers of the two files, by name, as a checkpoint takes them. */
export function adapterFiles(model: VisionLanguageModel, config: PeftConfig): Record<string, (file: string) => void> {
  const { base_model_name_or_path: base } = config;
  // Looked up now: the base may be gone when the adapter is written.
  const place = base && isAbsolute(base) ? realpathSync(base) : undefined;
  return {
    [adapterWeightsFile]: (file) => {
      saveSafetensors(file, new Map(adapterTensors(model).sort(([a], [b]) => (a < b ? -1 : 1))));
    },
    [adapterConfigFile]: (file) => {
      const named = place ? { ...config, base_model_name_or_path: relativeTo(file, place) } : config;
      writeFileSync(file, `${JSON.stringify(sorted(named), null, 2)}\n`);
    },
  };
}

/** A path that holds wherever both are moved together, and that is no name of a model on the hub. */
function relativeTo(file: string, base: string): string {
  const path = relative(realpathSync(dirname(file)), base)
    .split(sep)
    .join('/');
  return path.startsWith('.') ? path : `./${path}`;
}

const sorted = (config: PeftConfig): unknown =>
  Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)));
