/**
 * LoRA on a model: which linear layers take an adapter, training them alone, switching them off, merging them.
 *
 * Target modules are chosen as PEFT does: names that a module's path ends with, or one regular expression that must
 * match the whole path. Paths are those of the reference in memory (`model.language_model.layers.0.self_attn.q_proj`).
 */
import type { nn } from '@visurf/torch';
import { Generator, noGrad, scope, type Tensor } from '@visurf/torch';

import { nearest, UserError } from '../errors.ts';
import { limited } from '../patterns.ts';
import { Adapter } from './adapter.ts';
import type { Draws } from './dropout.ts';
import { isVision } from './keys.ts';
import { projections } from './projection.ts';
import type { VisionLanguageModel } from './vlm.ts';

export interface LoraSettings {
  /** r */
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  /** Scale by alpha / sqrt(r) in place of alpha / r. */
  readonly rsLora: boolean;
  /** Unset: every linear layer of the decoder's layers, and with `vision` of the vision tower's blocks. */
  readonly targets?: string | readonly string[] | undefined;
  /** Whether modules of the vision tower may be chosen. */
  readonly vision: boolean;
}

/**
 * Of paths those of the modules that PEFT's rule chooses.
 * @throws UserError where an expression goes on for too long
 */
export function targeted(paths: readonly string[], targets: string | readonly string[]): string[] {
  if (typeof targets !== 'string')
    return paths.filter((path) => targets.some((name) => path === name || path.endsWith(`.${name}`)));
  const whole = new RegExp(`^(?:${targets})$`);
  const characters = paths.reduce((total, path) => total + path.length, 0);
  return limited(() => paths.filter((path) => whole.test(path)), {
    ...{ expressions: [targets], where: 'train.lora.targets', characters },
  });
}

/**
 * Paths in the checkpoint of the projections that settings choose, in the order of the model.
 * @throws UserError where a name meets nothing.
 */
export function chosenModules(
  model: VisionLanguageModel,
  { targets, vision }: Pick<LoraSettings, 'targets' | 'vision'>,
): string[] {
  const { reference } = model.config.family.keys;
  const all = [...projections(model).keys()];
  const allowed = all.filter((path) => vision || !isVision(path));
  if (targets === undefined) return allowed.filter((path) => /^(model\.layers|visual\.blocks)\./.test(path));
  const named = new Map(all.map((path) => [reference(path), path]));
  const meets = (paths: readonly string[], wanted: string | readonly string[]): string[] =>
    targeted(paths.map(reference), wanted).map((name) => named.get(name)!);
  for (const each of typeof targets === 'string' ? [targets] : targets) {
    const wanted = typeof targets === 'string' ? each : [each];
    if (meets(allowed, wanted).length > 0) continue;
    const names = new Set(allowed.map((path) => path.slice(path.lastIndexOf('.') + 1)));
    const likely = nearest(each, names);
    const remedy = likely ? `did you mean ${likely}?` : `linear layers are called ${[...names].join(', ')}`;
    throw new UserError(`no linear layer ${vision ? '' : 'of the language model '}matches ${JSON.stringify(each)}`, {
      where: 'train.lora.targets',
      remedy: meets(all, wanted).length > 0 ? 'it is one of the vision tower: set train.lora.vision: true' : remedy,
    });
  }
  return meets(allowed, targets);
}

const adapters = (model: nn.Module): [string, Adapter][] =>
  [...projections(model)].flatMap(([path, { lora }]): [string, Adapter][] => (lora ? [[path, lora]] : []));

export const hasAdapters = (model: nn.Module): boolean => adapters(model).length > 0;

/** Adapters by the path of their layer in the checkpoint. */
export const adaptersOf = (model: nn.Module): ReadonlyMap<string, Adapter> => new Map(adapters(model));

/** Puts adapters that change nothing on modules, by path, and freezes all other weights. */
export function attachAdapters(model: nn.Module, modules: readonly string[], settings: LoraSettings): void {
  const { rank, alpha, dropout, rsLora } = settings;
  const scale = alpha / (rsLora ? Math.sqrt(rank) : rank);
  for (const parameter of model.parameters()) parameter.requiresGrad_(false);
  const found = projections(model);
  for (const path of modules) {
    const projection = found.get(path);
    if (!projection) throw new Error(`${path} is no projection`);
    projection.lora = new Adapter(projection.weight, { rank, scale, dropout });
  }
}

/** New adapters on the modules that settings choose; the seed draws A. Returns the modules' paths. */
export function addAdapters(model: VisionLanguageModel, settings: LoraSettings, seed: number): string[] {
  const modules = chosenModules(model, settings);
  attachAdapters(model, modules, settings);
  const generator = new Generator(seed);
  for (const [, adapter] of adapters(model)) scope(() => adapter.initialize(generator));
  return modules;
}

/** A and B of every adapter by path; what LoRA trains. */
export function adapterParameters(model: nn.Module): Map<string, Tensor> {
  return new Map(
    adapters(model).flatMap(([path, { A, B }]): [string, Tensor][] => [
      [`${path}.lora_A.weight`, A],
      [`${path}.lora_B.weight`, B],
    ]),
  );
}

/** Parameters by checkpoint key without those of adapters. */
export function baseParameters(model: nn.Module): Map<string, Tensor> {
  const own = new Set(adapters(model).flatMap(([, { A, B }]) => [A, B]));
  return new Map([...model.namedParameters()].filter(([, parameter]) => !own.has(parameter)));
}

/**
 * The weights that the model has with its adapters merged, by checkpoint key. Each goes through `convert` on its own, so
 * that no more than one is in memory before and after.
 * @param original the weight of that key as the base has it, which is merged into where the model keeps four bits of it:
 * what an adapter's file names is the base, and what other programs put it on
 */
export function mergedParameters(
  model: nn.Module,
  convert: (weight: Tensor, key: string) => Tensor,
  original: (key: string) => Tensor,
): Map<string, Tensor> {
  const byWeight = new Map([...projections(model).values()].map((each) => [each.weight, each]));
  const merge = (parameter: Tensor, key: string): Tensor => {
    const { lora, _nf4 } = byWeight.get(parameter) ?? {};
    const weight = _nf4 ? original(key).to({ device: parameter.device, dtype: 'float32' }) : parameter;
    return lora ? weight.add(lora.delta()) : weight;
  };
  const converted = (parameter: Tensor, key: string): Tensor =>
    scope(() => noGrad(() => convert(merge(parameter, key), key)));
  return new Map([...baseParameters(model)].map(([key, parameter]) => [key, converted(parameter, key)]));
}

/**
 * Adds every adapter to its layer and takes it off; all weights are trained from then on.
 * @throws UserError where weights are kept in four bits, which have no room for what an adapter adds
 */
export function mergeAdapters(model: nn.Module): void {
  if ([...projections(model).values()].some(({ _nf4 }) => _nf4))
    throw new UserError('an adapter cannot be added to weights in four bits (quantize: nf4)', {
      remedy: 'Open the model without quantize, and merge then; an export with merge takes the weights of the base.',
    });
  for (const projection of projections(model).values()) {
    const { lora } = projection;
    if (!lora) continue;
    scope(() => noGrad(() => projection.weight.add_(lora.delta())));
    projection.forgetCasts();
    projection.lora = undefined;
    lora.forgetStart();
    lora.dispose();
  }
  for (const parameter of model.parameters()) parameter.requiresGrad_();
}

/**
 * Runs `body`, which is synchronous, as the reference policy: with the adapters that training started from where they
 * are kept, and as if there were none where they are not.
 */
export function asReference<T>(model: nn.Module, body: () => T): T {
  const active = adapters(model).filter(([, adapter]) => adapter._enabled);
  const set = (reference: boolean): void => {
    for (const [, each] of active) {
      each._atStart = reference;
      each._enabled = !reference || each._start !== undefined;
    }
  };
  return during(
    () => set(true),
    body,
    () => set(false),
  );
}

type Adapted = LoraSettings & { readonly modules: readonly string[] };

/** Settings that new adapters would have and those that are there do not, by name; empty where they are alike. */
export function differences(present: Adapted, wanted: Adapted): string[] {
  const plain = (['rank', 'alpha', 'dropout', 'rsLora'] as const).filter((name) => present[name] !== wanted[name]);
  return present.modules.toSorted().join() === wanted.modules.toSorted().join() ? plain : [...plain, 'targets'];
}

/** Runs `body`, forward and backward, with dropout of adapters that have one, by these draws, which end with it. */
export function withDropout<T>(model: nn.Module, draws: Draws, body: () => T): T {
  const dropping = [...adapters(model).entries()].filter(([, [, { _dropped }]]) => _dropped > 0);
  const leave = (): void => {
    for (const [, [, each]] of dropping) each._draws = undefined;
    draws.dispose();
  };
  return during(
    () => dropping.forEach(([i, [path, each]]) => (each._draws = draws.of(i, isVision(path)))),
    body,
    leave,
  );
}

function during<T>(enter: () => void, body: () => T, leave: () => void): T {
  enter();
  try {
    const result = body();
    if (result instanceof Promise) throw new TypeError('what adapters do ends with a synchronous function');
    return result;
  } finally {
    leave();
  }
}
