/**
 * Two checkpoints become one, tensor by tensor in float32: neither is ever in memory as a whole.
 *
 *   linear           (1 - t) a + t b
 *   slerp            sin((1 - t) w) / sin w a + sin(t w) / sin w b, w the angle between a and b as vectors
 *   task-arithmetic  c + s ((a - c) + (b - c)), c the checkpoint both were trained from      arXiv 2212.04089
 *
 * SLERP is taken for every tensor by itself, and is linear where the angle is too small (cos w > 0.9995) to divide by.
 */
import { join } from 'node:path';

import {
  openSafetensors,
  saveShardedSafetensors,
  scope,
  TorchError,
  type Device,
  type LazyTensor,
  type SafetensorsIndex,
  type Tensor,
} from '@visurf/torch';

import { resolveDevice } from '../device.ts';
import { UserError } from '../errors.ts';
import { loadModelConfig } from '../families/config.ts';
import type { Family } from '../model/family.ts';
import { isAdapterDirectory } from '../model/peft.ts';
import { carriedSettings } from '../question/settings.ts';
import { writeDirectory } from './directory.ts';
import { dtypeFor, leftOut } from './dtypes.ts';
import { ownDtype, type Exported, type ExportOptions } from './export.ts';
import { companionFiles } from './huggingface.ts';
import { withExperiment } from './experiment.ts';

export type MergeMethod =
  /** `weight` is the share of the second model, t. */
  | { readonly method: 'linear' | 'slerp'; readonly weight: number }
  /** `base` is what both models were trained from, `scale` is s. */
  | { readonly method: 'task-arithmetic'; readonly base: string; readonly scale: number };

export interface MergeOptions extends Omit<ExportOptions, 'merge'> {
  /** Which computes; what is written is the same but for rounding. */
  readonly device?: Device | undefined;
}

/** cos of an angle that counts as none. */
const ALIGNED = 0.9995;

type Combine = (tensors: readonly Tensor[]) => Tensor;

const lerp = (a: Tensor, b: Tensor, t: number): Tensor => a.mul(1 - t).add(b.mul(t));

function slerp(a: Tensor, b: Tensor, t: number): Tensor {
  const dot = (x: Tensor, y: Tensor): number => x.mul(y).sum().item();
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  if (!(Math.abs(cosine) <= ALIGNED)) return lerp(a, b, t);
  const angle = Math.acos(cosine);
  return a.mul(Math.sin((1 - t) * angle) / Math.sin(angle)).add(b.mul(Math.sin(t * angle) / Math.sin(angle)));
}

function combination(how: MergeMethod): Combine {
  switch (how.method) {
    case 'linear':
      return ([a, b]) => lerp(a!, b!, how.weight);
    case 'slerp':
      return ([a, b]) => slerp(a!, b!, how.weight);
    case 'task-arithmetic':
      return ([a, b, c]) => c!.add(a!.sub(c!).add(b!.sub(c!)).mul(how.scale));
  }
}

/** An open model, with its tensors under our names, whichever its file has. */
interface Source {
  readonly directory: string;
  readonly weights: SafetensorsIndex;
  readonly names: ReadonlyMap<string, string>;
  readonly family: Family;
}

function open(directory: string): Source {
  if (isAdapterDirectory(directory)) {
    throw new UserError('an adapter is no whole model', {
      where: directory,
      remedy: 'merge it into its base first: visurf merge --model ADAPTER --output DIR',
    });
  }
  try {
    const weights = openSafetensors(directory);
    const { family } = loadModelConfig(directory);
    const read = weights.names.filter((name) => !family.ignored?.names.test(name));
    return { directory, weights, family, names: new Map(read.map((name) => [family.keys.own(name), name])) };
  } catch (error) {
    if (!(error instanceof TorchError)) throw error;
    throw new UserError(error.message, { where: directory, remedy: 'Give directories of whole models.', cause: error });
  }
}

/** The tensor of every source; each has the same ones, in the same shapes. */
function checkAlike([first, ...others]: readonly Source[]): void {
  for (const { directory, names, weights } of others) {
    const remedy = 'Only checkpoints of one model can be merged.';
    const lacking = (some: Source['names'], all: Source['names']): string[] => [...all.keys()].filter((key) => !some.has(key)); // prettier-ignore
    const [missing, extra] = [lacking(names, first!.names), lacking(first!.names, names)];
    if (missing.length > 0) throw new UserError(`has no tensor ${missing[0]}`, { where: directory, remedy });
    if (extra.length > 0) throw new UserError(`has the tensor ${extra[0]}, which the first model lacks`, { where: directory, remedy }); // prettier-ignore
    for (const [key, name] of names) {
      const [own, expected] = [weights.shapeOf(name), first!.weights.shapeOf(first!.names.get(key)!)];
      if (own.join() === expected.join()) continue;
      const message = `tensor ${name} has shape [${own.join(', ')}], in the first model [${expected.join(', ')}]`;
      throw new UserError(message, { where: directory, remedy });
    }
  }
}

/**
 * Merges two models of the same architecture, given as directories, into a new one that has the tokenizer and the
 * configuration of the first, and is measured as the first of them that was trained.
 * @throws UserError where the output is not empty, a model is none, or the models are not alike
 * @example
 * mergeModels(['runs/sft/best', 'runs/rlvr/best'], { method: 'slerp', weight: 0.5 }, 'merged');
 */
export function mergeModels(
  models: readonly [string, string],
  how: MergeMethod,
  output: string,
  options: MergeOptions = {},
): Exported {
  const sources: Source[] = [];
  try {
    for (const each of how.method === 'task-arithmetic' ? [...models, how.base] : models) sources.push(open(each));
    checkAlike(sources);
    const [origin] = models;
    const dtype = options.dtype ?? ownDtype(origin);
    const combine = combination(how);
    const device = resolveDevice(options.device ?? 'cpu');
    const { family, weights } = sources[0]!;
    const between = dtype === 'float64' ? dtype : 'float32';
    const merged = [...sources[0]!.names].map(([key, name]): [string, LazyTensor] => {
      const read = ({ weights, names }: Source): Tensor => weights.get(names.get(key)!).to({ device }).to(between);
      const as = dtypeFor(key, dtype, family, weights);
      const make = (): Tensor => combine(sources.map(read)).to(as);
      return [name, { dtype: as, shape: sources[0]!.weights.shapeOf(name), make }];
    });
    const { text } = loadModelConfig(origin);
    const written = writeDirectory(output, (aside) => {
      const { settings } = carriedSettings(models) ?? {};
      const companions = withExperiment(companionFiles(text.tiedHead, origin, dtype), family, settings, options);
      for (const [name, write] of Object.entries(companions)) write(join(aside, name));
      scope(() => saveShardedSafetensors(aside, new Map(merged), options.maxShardBytes));
    });
    const note = leftOut(family, weights);
    return { kind: 'model', dtype, ...written, ...(note && { note }) };
  } finally {
    for (const { weights } of sources) weights.close();
  }
}
