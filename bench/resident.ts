/** Memory of a process as the kernel counts it, sampled from outside while it works. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Watched {
  /** Highest anonymous resident memory, in bytes: what is not a page of a file. */
  readonly anonymous: number;
  /** Highest resident memory, in bytes. */
  readonly resident: number;
  /** What the program printed. */
  readonly output: string;
}

export function statusOf(pid: number | 'self', field: 'RssAnon' | 'VmRSS' | 'VmHWM'): number {
  const kilobytes = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

/** Runs a program and samples its memory every few milliseconds. */
export function watch(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Watched> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
    let [anonymous, resident, output] = [0, 0, ''];
    const timer = setInterval(() => {
      try {
        // NaN once it has ended and is not yet collected.
        anonymous = Math.max(anonymous, statusOf(child.pid!, 'RssAnon') || 0);
        resident = Math.max(resident, statusOf(child.pid!, 'VmHWM') || 0);
      } catch {
        // It has ended.
      }
    }, 4);
    child.stdout.on('data', (text: Buffer) => (output += text.toString()));
    child.on('close', (code) => {
      clearInterval(timer);
      if (code === 0) resolve({ anonymous, resident, output });
      else reject(new Error(`${command} ${args.join(' ')} ended with ${code}`));
    });
  });
}
