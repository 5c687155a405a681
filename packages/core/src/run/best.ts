/** The best checkpoint of a run: by its link, or, where links did not survive, by what its checkpoints say. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { checkpointSteps, stepName } from './checkpoint.ts';

const BEST = 'best';

/** What a link becomes where an archive or a file system has none: a small file with its target. */
const POINTER = /^checkpoints\/\d{6,}\s*$/;

const isModel = (directory: string): boolean =>
  ['config.json', 'adapter_config.json'].some((name) => existsSync(path.join(directory, name)));

const isRun = (directory: string): boolean =>
  existsSync(path.join(directory, 'config.yaml')) && existsSync(path.join(directory, 'checkpoints'));

/**
 * The model directory that a path to a run, or to the `best` of one, means; undefined where it is neither. A run
 * without an evaluation means its last checkpoint.
 */
export function checkpointOf(name: string): string | undefined {
  if (isModel(name)) return undefined;
  const run = path.basename(path.resolve(name)) === BEST ? path.dirname(path.resolve(name)) : path.resolve(name);
  if (!isRun(run)) return undefined;
  const best = path.join(run, BEST);
  if (isModel(best)) return best;
  const folder = path.join(run, 'checkpoints');
  const steps = checkpointSteps(folder).filter((step) => isModel(path.join(folder, stepName(step))));
  const chosen = pointedTo(run) ?? bestStep(folder, steps) ?? steps.at(-1);
  return chosen === undefined ? undefined : path.join(folder, stepName(chosen));
}

function pointedTo(run: string): number | undefined {
  const file = path.join(run, BEST);
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat?.isFile() || stat.size > 100) return undefined;
  const text = readFileSync(file, 'utf8');
  return POINTER.test(text) ? Number(text.trim().slice('checkpoints/'.length)) : undefined;
}

/** The step as the latest checkpoint knows it. */
function bestStep(folder: string, steps: readonly number[]): number | undefined {
  for (const step of steps.toReversed()) {
    try {
      const text = readFileSync(path.join(folder, stepName(step), 'manifest.json'), 'utf8');
      const { best } = JSON.parse(text) as { best?: { step?: number } };
      if (best?.step !== undefined && steps.includes(best.step)) return best.step;
    } catch {
      // A checkpoint without a readable manifest says nothing of the best.
    }
  }
  return undefined;
}
