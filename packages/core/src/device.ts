/** The device that a configuration or an option means. */
import { info, type Device } from '@visurf/torch';

import { deviceNames, isDeviceName } from './config/device.ts';
import { UserError } from './errors.ts';

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
