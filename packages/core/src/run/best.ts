/**
 * The best checkpoint of a run, and its last: by their links, or, where links did not survive, by what its checkpoints say.
 */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { checkpointSteps, stepName } from './checkpoint.ts';
import { readText } from '../regular.ts';

const BEST = 'best';
const LAST = 'last';

/** What a link becomes where an archive or a file system has none: a small file with its target. */
const POINTER = /^checkpoints\/\d{6,}\s*$/;

const isModel = (directory: string): boolean =>
  ['config.json', 'adapter_config.json'].some((name) => existsSync(path.join(directory, name)));

const isRun = (directory: string): boolean =>
  existsSync(path.join(directory, 'config.yaml')) && existsSync(path.join(directory, 'checkpoints'));

/**
 * The model directory that a path to a run, or to the `best` or `last` of one, means; undefined where it is neither. A run
 * means its best checkpoint, without an evaluation its last.
 */
export function checkpointOf(name: string): string | undefined {
  if (isModel(name)) return undefined;
  const named = path.basename(path.resolve(name));
  const run = [BEST, LAST].includes(named) ? path.dirname(path.resolve(name)) : path.resolve(name);
  if (!isRun(run)) return undefined;
  const folder = path.join(run, 'checkpoints');
  const steps = checkpointSteps(folder).filter((step) => isModel(path.join(folder, stepName(step))));
  if (named === LAST) return steps.length === 0 ? undefined : path.join(folder, stepName(steps.at(-1)!));
  const best = path.join(run, BEST);
  if (isModel(best)) return best;
  const chosen = pointedTo(run) ?? bestStep(folder, steps) ?? steps.at(-1);
  return chosen === undefined ? undefined : path.join(folder, stepName(chosen));
}

function pointedTo(run: string): number | undefined {
  const file = path.join(run, BEST);
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat?.isFile() || stat.size > 100) return undefined;
  const text = readText(file);
  return POINTER.test(text) ? Number(text.trim().slice('checkpoints/'.length)) : undefined;
}

/** The step as the latest checkpoint knows it. */
function bestStep(folder: string, steps: readonly number[]): number | undefined {
  for (const step of steps.toReversed()) {
    try {
      const text = readText(path.join(folder, stepName(step), 'manifest.json'));
      const { best } = JSON.parse(text) as { best?: { step?: number } };
      if (best?.step !== undefined && steps.includes(best.step)) return best.step;
    } catch {
      // A checkpoint without a readable manifest says nothing of the best.
    }
  }
  return undefined;
}
