/** A base model is pretrained on pictures of some rooms, whosever they are. */
import { loadImageSettings, parseModelConfig, patchesOf, VisionLanguageModel } from '@visurf/core/internals';
import {
  initialize,
  modelConfig,
  runPretraining,
  writeCheckpointFiles,
  type Miniature,
  type PretrainingOptions,
} from '@visurf/mini-grounding/kit';
import { manualSeed } from '@visurf/torch';

import { Heads } from './heads.ts';
import type { PretrainPlan } from './plan.ts';
import type { Room } from './rooms.ts';
import { drawPictures, readLoss, seeLoss, type Parts } from './update.ts';

export interface School {
  readonly plan: PretrainPlan;
  readonly miniature: Miniature;
  readonly rooms: Readonly<Record<string, Room>>;
  /** All names that things in the rooms have. */
  readonly words: readonly string[];
}

/**
 * Writes the base model to `directory`, or goes on with one that is being made there.
 * @returns the seconds of work, over all starts
 */
export function pretrainOn(
  directory: string,
  { plan, miniature, rooms, words }: School,
  options: PretrainingOptions = {},
): Promise<number> {
  const { vocabulary } = miniature;
  writeCheckpointFiles(directory, miniature);
  manualSeed(plan.seed);
  const model = new VisionLanguageModel(parseModelConfig(modelConfig(miniature)));
  const { vision, text } = model.config;
  const heads = new Heads(vision.hiddenSize, text.hiddenSize, vocabulary, words);
  initialize(model, plan.seed, vocabulary.numberIds);
  const settings = loadImageSettings(directory, patchesOf(model.config.family));
  const parts: Parts = { model, heads, vocabulary, plan, rooms, settings };
  const { stages } = plan;
  return runPretraining(
    directory,
    {
      ...{ model, heads, stages, optimizer: plan },
      lesson: async (stage, update) => {
        const drawn = await drawPictures(parts, stage, update);
        return () => (stage.name === 'see' ? seeLoss(parts, drawn) : readLoss(parts, stage, update, drawn));
      },
    },
    options,
  );
}
