/** What a model is, without its weights being read: family, size, and what each way of training trains. */
import path from 'node:path';

import { nn, scope } from '@visurf/torch';

import { parseConfig } from './config/load.ts';
import { statedDtype } from './export/config.ts';
import { loadModelConfig } from './families/config.ts';
import type { ModelConfig } from './model/config.ts';
import { chosenModules } from './model/lora.ts';
import { VisionLanguageModel } from './model/vlm.ts';
import { sizesOf } from './plan/sizes.ts';
import { locateModel, type ModelSource } from './policy.ts';
import { PromptEncoder } from './prompt/encoder.ts';

/** What is trained with some settings of `train`. */
export interface TrainedShare {
  readonly settings: string;
  readonly parameters: number;
  /** Linear layers that take an adapter; undefined where weights themselves are trained. */
  readonly adapters?: number;
}

export interface AboutModel {
  readonly directory: string;
  /** The name that its authors write, and `model_type`. */
  readonly family: string;
  readonly modelType: string;
  /** Numbers of parameters; `packable`: in linear layers of the decoder, which `train.lora.quantize` keeps in four bits. */
  readonly parameters: { readonly all: number; readonly vision: number; readonly packable: number };
  readonly layers: { readonly language: number; readonly vision: number };
  /** Of the weights, where `config.json` states it. */
  readonly dtype: string | undefined;
  /** How it speaks of places: pixels of the image as it sees it, or thousandths of each side. */
  readonly coordinates: 'resized' | 'thousandths';
  /** Whether its prompts open a thought, with which every answer begins. */
  readonly thinks: boolean;
  /** What files of the family may hold beside the model; it is not read, trained or written. */
  readonly ignored?: string;
  readonly trained: readonly TrainedShare[];
}

const ways = {
  'all weights': {},
  'train.freezeVision: true': { freezeVision: true },
  'train.lora: {}': { lora: {} },
  'train.lora: { vision: true }': { lora: { vision: true } },
};

/**
 * Of a directory, a run, or `owner/name` on the hub, of which the small files are fetched.
 * @throws UserError where it is none of a supported family, or a file is missing
 */
export async function aboutModel(name: string, options: ModelSource = {}): Promise<AboutModel> {
  const { base: directory } = await locateModel(name, { ...options, weights: false });
  const model = loadModelConfig(directory);
  const { family, text, vision } = model;
  const shares = Object.entries(ways).map(([settings, train]) => shareOf(model, settings, train));
  return {
    directory,
    family: family.title,
    modelType: family.name,
    parameters: { all: shares[0]!.all, vision: shares[0]!.vision, packable: shares[0]!.packable },
    layers: { language: text.layers, vision: vision.depth },
    dtype: statedDtype(path.join(directory, 'config.json')),
    coordinates: family.coordinates,
    thinks: PromptEncoder.load(directory).opening !== '',
    ...(family.ignored && { ignored: family.ignored.are }),
    trained: shares.map(({ share }) => share),
  };
}

function shareOf(
  model: ModelConfig,
  settings: string,
  train: object,
): AboutModel['parameters'] & { share: TrainedShare } {
  const config = parseConfig({ model: 'unused', output: 'unused', steps: 1, data: { train: 'unused' }, train });
  const { all, vision, packable, trainable } = sizesOf(model, () => 0, config);
  const { lora } = config.train;
  const modules = (): number =>
    scope(
      () =>
        chosenModules(
          nn.outline(() => new VisionLanguageModel(model)),
          lora!,
        ).length,
    );
  return { all, vision, packable, share: { settings, parameters: trainable, ...(lora && { adapters: modules() }) } };
}
