/** What would end a run after hours, said before it starts: memory, disk, a learning rate of another kind. */
import { existsSync, statfsSync } from 'node:fs';
import path from 'node:path';

import type { Config } from './config/schema.ts';
import { UserError } from './errors.ts';
import { planData, type Plan } from './plan.ts';
import { rateWarning } from './plan/rate.ts';
import type { LocatedModel } from './policy.ts';
import type { TrainingData } from './question/training.ts';

export interface FitOptions {
  /** Processes that train together, and those of them on this machine. */
  readonly world: { readonly size: number; readonly here: number };
  readonly onWarning: (message: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** What a plan may be off by, and more. */
const MARGIN = 1.1;
/** Samples whose prompts are looked at. */
const SAMPLED = 8;

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toLocaleString('en', { maximumFractionDigits: 1 })} GB`;

/** @throws UserError where the run cannot be made here */
export async function requireFit(
  config: Config,
  data: TrainingData,
  located: LocatedModel,
  { world, onWarning, signal }: FitOptions,
): Promise<void> {
  const planned = await planFor(config, data, located, { world, signal });
  if (!planned) return;
  const warning = rateWarning(config, planned.parameters.all);
  if (warning !== undefined) onWarning(warning);
  requireMemory(planned);
  requireDisk(config, planned.parameters);
}

/** Undefined where nobody can tell: a card that is not described, samples that cannot be asked. */
async function planFor(
  config: Config,
  data: TrainingData,
  located: LocatedModel,
  options: Pick<FitOptions, 'world' | 'signal'>,
): Promise<Plan | undefined> {
  try {
    return await planData(config, data, located, { gflops: 1, sampled: SAMPLED, ...options });
  } catch (error) {
    // Samples that cannot be asked are listed all together, where all are looked at.
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

const ANYWAY = 'or start it all the same with --unplanned';

function requireMemory({ memory, available, advice, dominant, processes }: Plan): void {
  if (memory.peak <= MARGIN * available) return;
  const fitting = advice.filter(({ peak }) => peak <= available);
  const changes = (fitting.length > 0 ? fitting : advice)
    .slice(0, 3)
    .map(({ change, peak }) => `${change} (${gigabytes(peak)})`);
  const [who, each, fewer] =
    processes > 1
      ? [`each of the ${processes} processes here`, ' for each', 'start fewer processes, ']
      : ['the run', '', ''];
  throw new UserError(
    `${who} needs ${gigabytes(memory.peak)} of memory, and ${gigabytes(available)} are available${each}; most goes to: ${dominant}`,
    { remedy: `Change ${changes.join(', ')}: visurf plan says more; ${fewer}${ANYWAY}.` },
  );
}

/** Checkpoints that are kept, the best one, and one that is being written. */
function requireDisk({ output, checkpoint, train, optimizer }: Config, { all, trainable }: Plan['parameters']): void {
  const weights = train.lora ? trainable : all;
  const moments = optimizer.name === 'adamw' ? 2 * trainable : 0;
  const needed = (checkpoint.keep + 2) * 4 * (weights + moments);
  const free = freeOnDisk(output);
  if (free === undefined || needed <= free) return;
  throw new UserError(`checkpoints need ${gigabytes(needed)} of disk, and ${gigabytes(free)} are free`, {
    where: output,
    remedy: `Make room, choose another output, keep fewer (checkpoint.keep: 1), or train adapters (train.lora); ${ANYWAY}.`,
  });
}

/** Of the disk that a folder is on, or will be on. */
function freeOnDisk(folder: string): number | undefined {
  let there = path.resolve(folder);
  while (!existsSync(there)) there = path.dirname(there);
  try {
    const { bavail, blocks, bsize } = statfsSync(there);
    // What is no disk, such as /proc, has no blocks at all: that nothing can be written there is said when it is tried.
    return blocks === 0 ? undefined : bavail * bsize;
  } catch {
    return undefined;
  }
}
