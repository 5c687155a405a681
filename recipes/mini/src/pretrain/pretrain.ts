/**
 * Makes a base model: `node src/pretrain/pretrain.ts [NAME] [directory] [--threads N]`, of one of the plans. Killed at any
 * time it goes on from its last checkpoint when it is started again; the result does not depend on that.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { logUpdate, thisCpu, type PretrainingOptions } from '@visurf/mini-grounding/kit';
import { setNumThreads } from '@visurf/torch';

import { SIGHT_WORDS } from '../vocabulary.ts';
import { writeMeasured } from './measure.ts';
import { isBaseName, miniatureOf, planOf, type PretrainPlan } from './plan.ts';
import { ROOMS } from './rooms.ts';
import { pretrainOn } from './school.ts';

/** The base model of a plan of this recipe, in `directory`. */
export const pretrain = (directory: string, plan: PretrainPlan, options?: PretrainingOptions): Promise<number> =>
  pretrainOn(directory, { plan, miniature: miniatureOf(plan), rooms: ROOMS, words: SIGHT_WORDS }, options);

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
