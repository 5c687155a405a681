/** How configurations and options name a device. */

export const deviceNames = 'cpu, cuda, cuda:N, auto';

export const isDeviceName = (name: string): boolean => /^(cpu|cuda(:(0|[1-9]\d*))?|auto)$/.test(name);
