/** The device that a configuration or an option means. */
import { info, type Device } from '@visurf/torch';

import { deviceNames, isDeviceName } from './config/device.ts';
import { UserError } from './errors.ts';
import type { World } from './world.ts';

/**
 * `auto` is a CUDA GPU where there is one, else the CPU.
 * @param count CUDA GPUs of this machine
 * @throws UserError for a name of none, or a GPU that is not there
 */
export function resolveDevice(name: string, count = info().cudaDevices): Device {
  if (!isDeviceName(name)) {
    throw new UserError(`${JSON.stringify(name)} is no device`, { where: 'device', remedy: `Use ${deviceNames}.` });
  }
  if (name === 'auto') return count > 0 ? 'cuda' : 'cpu';
  if (name === 'cpu') return name;
  const where = `device ${name}`;
  if (count === 0) {
    throw new UserError('libtorch finds no CUDA GPU here', {
      where,
      remedy: 'Use device cpu, or see what was found with: visurf doctor',
    });
  }
  if (Number(name.slice('cuda:'.length)) >= count) {
    throw new UserError(`there is no such GPU: libtorch finds ${count}, numbered from 0`, {
      where,
      remedy: `Use ${deviceNames}, with N below ${count}.`,
    });
  }
  return name;
}

/**
 * The device of one of several processes: on GPUs each has one of its own.
 * @throws UserError as `resolveDevice`, and where there are too few
 */
export function deviceIn(
  world: World | undefined,
  name: string,
  count = info().cudaDevices,
  isChosen = (process.env.CUDA_VISIBLE_DEVICES ?? '') !== '',
): Device {
  const device = resolveDevice(name, count);
  const { rank, localRank = rank, localSize = 1 } = world ?? { rank: 0 };
  if (!world || world.size === 1 || device === 'cpu') return device;
  // Schedulers show every process its own alone.
  if (count === 1 && (localSize === 1 || isChosen)) return 'cuda:0';
  if (device !== 'cuda' && localSize > 1) {
    throw new UserError(`device ${name} is one GPU, for ${localSize} processes`, {
      where: 'device',
      remedy: 'Use device cuda: every process takes the one of its number.',
    });
  }
  if (localSize > count) {
    throw new UserError(`${localSize} processes on this machine, and ${count} GPU${count === 1 ? '' : 's'}`, {
      where: `device ${name}`,
      remedy: `Start at most ${count}, or use device cpu.`,
    });
  }
  return device === 'cuda' ? `cuda:${localRank % count}` : device;
}
