/**
 * Makes the base model: `node src/pretrain/pretrain.ts [directory] [--threads N]`. Killed at any time it goes on from
 * its last checkpoint when it is started again; the result does not depend on that.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { loadImageSettings, parseModelConfig, patchesOf, VisionLanguageModel } from '@visurf/core/internals';
import { manualSeed, setNumThreads } from '@visurf/torch';

import { MINIATURE, modelConfig, writeCheckpointFiles } from '../checkpoint.ts';
import { NUMBER_IDS } from '../vocabulary.ts';
import { Heads } from './heads.ts';
import { initialize } from './initialize.ts';
import { thisCpu, writeMeasured } from './measure.ts';
import { PLAN, type PretrainPlan } from './plan.ts';
import { logUpdate, runPretraining, type PretrainingOptions } from './pretraining.ts';
import { readLoss, seeLoss, type Parts } from './update.ts';

export interface PretrainOptions extends PretrainingOptions {
  readonly plan?: PretrainPlan;
}

/**
 * Writes the base model to `directory`, or goes on with one that is being made there.
 * @returns the seconds of work, over all starts
 */
export function pretrain(directory: string, { plan = PLAN, ...options }: PretrainOptions = {}): Promise<number> {
  writeCheckpointFiles(directory);
  manualSeed(plan.seed);
  const model = new VisionLanguageModel(parseModelConfig(modelConfig(MINIATURE)));
  const { vision, text } = model.config;
  const heads = new Heads(vision.hiddenSize, text.hiddenSize);
  initialize(model, plan.seed, NUMBER_IDS);
  const parts: Parts = { model, heads, plan, settings: loadImageSettings(directory, patchesOf(model.config.family)) };
  const { stages } = plan;
  return runPretraining(
    directory,
    {
      ...{ model, heads, stages, optimizer: plan },
      lesson: (stage, update) =>
        Promise.resolve(() => (stage.name === 'see' ? seeLoss : readLoss)(parts, stage, update)),
    },
    options,
  );
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: 'string', default: '2' } },
  });
  setNumThreads(Number(values.threads));
  const directory = positionals[0] ?? join(import.meta.dirname, '../../base');
  const seconds = Math.round(await pretrain(directory, { onUpdate: logUpdate }));
  console.log(await writeMeasured(directory, { seconds, threads: Number(values.threads), cpu: thisCpu() }));
}
