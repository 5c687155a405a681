/** A device whose memory is full: what to do about it. */
import { deviceMemory, isOutOfMemory, type Device } from '@visurf/torch';

import type { Config } from './config/schema.ts';
import { messageOf, UserError } from './errors.ts';
import { plan } from './plan.ts';

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/** "78.1 of 79.2 GB" */
function held(device: Device): string {
  const memory = deviceMemory(device);
  if (!memory) return '';
  const { allocated, total } = memory;
  return `: ${gigabytes(allocated)} are held by tensors${total === undefined ? '' : ` of ${gigabytes(total)}`}, and the next does not fit`;
}

/** Which memory is full, by the words of libtorch. */
function deviceOf(error: unknown): Device {
  const card = /GPU (\d+)/.exec(messageOf(error))?.[1];
  return card === undefined ? 'cpu' : `cuda:${Number(card)}`;
}

const usual =
  'Use --precision bfloat16, smaller images (--max-pixels), shorter answers, or a device with more memory (--device).';

/** The error as its reader can use it: a UserError where memory was not enough, else as it is. */
export function explainMemory(error: unknown, remedy = usual): unknown {
  if (!isOutOfMemory(error)) return error;
  const device = deviceOf(error);
  return new UserError(`memory is full${held(device)}`, { where: `device ${device}`, remedy, cause: error });
}

/** As `explainMemory`, of a training: with the changes that would lower its peak, as `plan` has them. */
export const explainTraining = async (error: unknown, config: Config): Promise<unknown> =>
  isOutOfMemory(error) ? explainMemory(error, await remedyFor(config, deviceOf(error))) : error;

async function remedyFor(config: Config, device: Device): Promise<string> {
  const general = 'See what takes it, and what would lower it: visurf plan CONFIG.yaml';
  try {
    // Time is not asked for: nothing is measured on a machine that is full, and any card will do.
    const rates = device === 'cpu' ? { gflops: 1 } : { machine: 'h100' };
    const memory = deviceMemory(device)?.total ?? 1;
    const { memory: planned, advice } = await plan({ ...config, device }, { ...rates, memory });
    const changes = advice.slice(0, 4).map(({ change, peak }) => `${change} (${gigabytes(peak)})`);
    if (changes.length === 0) return general;
    return `Planned are ${gigabytes(planned.peak)}; change one of these: ${changes.join(', ')}. visurf plan says more.`;
  } catch {
    return general;
  }
}
