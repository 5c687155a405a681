/** Memory of a process as the kernel counts it, sampled from outside while it works. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Watched {
  /** Highest anonymous resident memory, in bytes: what is not a page of a file. */
  readonly anonymous: number;
  /** Highest resident memory, in bytes. */
  readonly resident: number;
  /** Of all threads, until the last sample. */
  readonly processorSeconds: number;
  /** What the program printed. */
  readonly output: string;
}

export function statusOf(pid: number | 'self', field: 'RssAnon' | 'VmRSS' | 'VmHWM'): number {
  const kilobytes = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

/** Processor seconds of a process so far, all threads. */
export function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Of Linux, on every common machine. */
const ticksPerSecond = 100;

/**
 * Runs a program and samples its memory every few milliseconds.
 * @param onSample hears how many processor seconds it has used
 * @param every milliseconds; the highest resident memory is the kernel's own count, and needs none of the samples but the last
 */
export function watch(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  onSample?: (processorSeconds: number) => void,
  every = 4,
): Promise<Watched> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
    let [anonymous, resident, used, output] = [0, 0, 0, ''];
    const timer = setInterval(() => {
      try {
        // NaN once it has ended and is not yet collected.
        anonymous = Math.max(anonymous, statusOf(child.pid!, 'RssAnon') || 0);
        resident = Math.max(resident, statusOf(child.pid!, 'VmHWM') || 0);
        used = Math.max(used, processorSeconds(child.pid!));
        onSample?.(used);
      } catch {
        // It has ended.
      }
    }, every);
    child.stdout.on('data', (text: Buffer) => (output += text.toString()));
    child.on('close', (code) => {
      clearInterval(timer);
      if (code === 0) resolve({ anonymous, resident, processorSeconds: used, output });
      else reject(new Error(`${command} ${args.join(' ')} ended with ${code}`));
    });
  });
}
