/** Numbers of parameters of a model that is not loaded: counted on an outline, which takes no memory. */
import { nn, optim, scope, type Tensor } from '@visurf/torch';

import type { Config } from '../config/schema.ts';
import type { ModelConfig } from '../model/config.ts';
import { isVision } from '../model/keys.ts';
import { isMatrix, packedProjections } from '../families/load.ts';
import { chosenModules } from '../model/lora.ts';
import { projections } from '../model/projection.ts';
import { VisionLanguageModel } from '../model/vlm.ts';
import type { Sizes } from './workload.ts';

const count = ({ shape }: Pick<Tensor, 'shape'>): number => shape.reduce((a, b) => a * b, 1);

const isTable = (key: string): boolean => key === 'lm_head.weight' || key === 'model.embed_tokens.weight';

/** What is found on a model without its numbers. */
export const onOutline = <T>(config: ModelConfig, find: (model: VisionLanguageModel) => T): T =>
  scope(() => {
    const model = nn.outline(() => new VisionLanguageModel(config));
    try {
      return find(model);
    } finally {
      model.dispose();
    }
  });

/**
 * @param fileBytes of the checkpoint's weights, for a number of parameters
 * @throws UserError for LoRA's target modules that the model does not have
 */
export function sizesOf(
  config: ModelConfig,
  fileBytes: (parameters: number) => number,
  { train, precision }: Pick<Config, 'train' | 'precision'>,
): Sizes {
  return onOutline(config, (model) => {
    const sum = (parameters: Iterable<readonly [string, Tensor]>, chosen: (key: string) => boolean): number =>
      [...parameters].reduce((total, [key, each]) => (chosen(key) ? total + count(each) : total), 0);
    const named = [...model.namedParameters()];
    const layers = [...projections(model)].map(([key, { weight }]) => [key, weight] as const);
    const all = sum(named, () => true);
    const file = fileBytes(all);
    const { lora } = train;
    const isTrained = (key: string): boolean => !lora && !(train.freezeVision && isVision(key));

    // With LoRA, what the file has in bfloat16 stays so.
    const stays = lora !== undefined && file < 3 * all && precision !== 'float64';
    const matrices = sum(named, isMatrix);
    const inLayers = sum(layers, () => true);
    const inDecoder = [...packedProjections(model).values()].map(({ weight }) => count(weight));
    const adapted = lora ? new Set(chosenModules(model, lora)) : new Set<string>();
    const factors = layers
      .filter(([key]) => adapted.has(key))
      .flatMap(([, { shape }]) => shape.map((width) => (lora?.rank ?? 0) * width));
    const adapters = factors.reduce((total, each) => total + each, 0);
    const trained = [...named.flatMap(([key, each]) => (isTrained(key) ? [count(each)] : [])), ...factors];
    const sizes: Sizes = {
      all,
      trainable: trained.reduce((total, each) => total + each, 0),
      small: trained.reduce((total, each) => total + (each < optim.smallest8bit ? each : 0), 0),
      projections: inLayers,
      trainedProjections: sum(layers, isTrained) + adapters,
      vision: sum(named, isVision),
      tables: sum(named, isTable),
      file,
      weights: stays ? 4 * (all - matrices) + 2 * matrices : 4 * all,
      copied: precision === 'bfloat16' && !stays ? inLayers : 0,
      masters: 0,
      matrices,
      packable: inDecoder.reduce((total, each) => total + each, 0),
      widest: Math.max(...inDecoder),
    };
    return lora?.quantize ? inFourBits(sizes) : sizes;
  });
}

/** Half a byte, and a share of the magnitude of 64. */
const fourBits = 1 / 2 + 4 / 64;

/** With linear layers of the decoder in four bits. */
export function inFourBits(sizes: Sizes): Sizes {
  const { all, weights, packable, copied } = sizes;
  const item = weights < 4 * all ? 2 : 4;
  return { ...sizes, weights: weights - (item - fourBits) * packable, copied: Math.max(0, copied - packable) };
}
