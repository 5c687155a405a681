/**
 * Makes the base model: `node src/pretrain/pretrain.ts [directory] [--threads N]`. Killed at any time it goes on from
 * its last checkpoint when it is started again; the result does not depend on that.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { pretrainOn, type PretrainPlan } from '@visurf/mini/kit';
import { logUpdate, type PretrainingOptions } from '@visurf/mini-grounding/kit';
import { setNumThreads } from '@visurf/torch';

import { VOCABULARY } from '../vocabulary.ts';
import { PLAN } from './plan.ts';
import { ROOMS, SIGHT_WORDS } from './rooms.ts';

/**
 * Writes the base model to `directory`, or goes on with one that is being made there.
 * @returns the seconds of work, over all starts
 */
export const pretrain = (directory: string, plan: PretrainPlan = PLAN, options?: PretrainingOptions): Promise<number> =>
  pretrainOn(
    directory,
    { plan, miniature: { family: plan.family, vocabulary: VOCABULARY }, rooms: ROOMS, words: SIGHT_WORDS },
    options,
  );

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: 'string', default: '2' } },
  });
  setNumThreads(Number(values.threads));
  const directory = positionals[0] ?? join(import.meta.dirname, '../../base');
  const seconds = await pretrain(directory, PLAN, { onUpdate: logUpdate });
  console.log(`${seconds.toFixed(0)} s`);
}
