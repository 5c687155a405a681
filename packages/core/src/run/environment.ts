/** What the numbers of a run depend on beside its configuration, down to the last bit. */
import { execFileSync } from 'node:child_process';
import { cpus, hostname } from 'node:os';
import type { Origin } from './events.ts';

export type Environment = Readonly<Record<string, string | number | boolean | null>>;

const SETTINGS = /^(MKL|OMP|KMP|ATEN|DNNL|ONEDNN|OPENBLAS|CUBLAS|NVIDIA)_/;

/**
 * This process's surroundings; `extra` adds what the tensor library knows (its version, threads, vector instructions).
 */
export function describeEnvironment(extra: Environment = {}): Environment {
  const settings = Object.entries(process.env).filter(([name]) => SETTINGS.test(name));
  return {
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cpu: cpus()[0]?.model ?? null,
    ...extra,
    ...Object.fromEntries(settings.sort().map(([name, value]) => [name, value ?? null])),
  };
}

/** Where a run comes from: what this process adds to what its caller knows. */
export function describeOrigin(known: Origin): Origin {
  return { ...known, commit: commitOf(process.cwd()), host: hostname(), processes: known.processes ?? 1 };
}

function commitOf(directory: string): string | undefined {
  try {
    const said = execFileSync('git', ['rev-parse', 'HEAD'], {
      cwd: directory,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5_000,
    });
    return said.trim();
  } catch {
    // Not in git, or no git here.
    return undefined;
  }
}

/** One sentence per difference that may change the last bits of a resumed run. */
export function environmentChanges(before: Environment, now: Environment): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
  return names
    .filter((name) => (before[name] ?? null) !== (now[name] ?? null))
    .map((name) => {
      const [was, is] = differingLines(String(before[name] ?? 'unset'), String(now[name] ?? 'unset'));
      return `${name} was ${was}, is ${is}: numbers may differ in the last bits`;
    });
}

/** Of texts of several lines, those that the other has not, on one. */
function differingLines(...texts: readonly [string, string]): string[] {
  const lines = texts.map((text) => text.split('\n').map((line) => line.trim()));
  return lines.map((own, i) => own.filter((line) => !lines[1 - i]!.includes(line)).join(', ') || 'without that');
}
