/**
 * Makes a base model: `node src/pretrain/pretrain.ts [base|base-qwen2] [directory] [--threads N]`. Killed at any time it
 * goes on from its last checkpoint when it is started again; the result does not depend on that.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { loadImageSettings, parseModelConfig, patchesOf, QwenVL } from '@visurf/core/internals';
import {
  initialize,
  logUpdate,
  modelConfig,
  runPretraining,
  thisCpu,
  writeCheckpointFiles,
  type PretrainingOptions,
} from '@visurf/mini-grounding/kit';
import { manualSeed, setNumThreads } from '@visurf/torch';

import { Heads } from './heads.ts';
import { writeMeasured } from './measure.ts';
import { isBaseName, miniatureOf, planOf, type PretrainPlan } from './plan.ts';
import { drawPictures, readLoss, seeLoss, type Parts } from './update.ts';

/**
 * Writes the base model to `directory`, or goes on with one that is being made there.
 * @returns the seconds of work, over all starts
 */
export function pretrain(directory: string, plan: PretrainPlan, options: PretrainingOptions = {}): Promise<number> {
  const miniature = miniatureOf(plan);
  const { vocabulary } = miniature;
  writeCheckpointFiles(directory, miniature);
  manualSeed(plan.seed);
  const model = new QwenVL(parseModelConfig(modelConfig(miniature)));
  const { vision, text } = model.config;
  const heads = new Heads(vision.hiddenSize, text.hiddenSize, vocabulary);
  initialize(model, plan.seed, vocabulary.numberIds);
  const parts: Parts = {
    model,
    heads,
    vocabulary,
    plan,
    settings: loadImageSettings(directory, patchesOf(model.config.family)),
  };
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

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: 'string', default: '2' } },
  });
  const threads = Number(values.threads);
  setNumThreads(threads);
  const [name = 'base', directory = join(import.meta.dirname, '../..', name)] = positionals;
  if (!isBaseName(name)) throw new Error(`there is no plan for ${name}`);
  const seconds = Math.round(await pretrain(directory, planOf(name), { onUpdate: logUpdate }));
  console.log(await writeMeasured(name, directory, { seconds, threads, cpu: thisCpu() }));
}
