// @ts-check
/** Steps of a set-up: run a command with visible progress, and explain a failure by what its output says. */

import { spawn } from 'node:child_process';
import { statfsSync } from 'node:fs';

/** A step that could not be done: which, why, and what the user can do. */
export class SetupError extends Error {
  /**
   * @param {string} step
   * @param {string} reason
   * @param {string} remedy
   */
  constructor(step, reason, remedy) {
    super(`set-up failed at: ${step}\n  why: ${reason}\n  what to do: ${remedy}`);
    this.name = 'SetupError';
  }
}

/** What the output of a failed command gives away, most telling first. */
const CAUSES = /** @type {const} */ ([
  [
    /No space left on device|ENOSPC|Disk quota exceeded/i,
    'the disk is full',
    'free some space (a set-up needs about 2 GB) and run it again',
  ],
  [
    /name resolution|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|NewConnectionError|Network is unreachable|timed out|ProxyError/i,
    'the package index cannot be reached',
    'check the network, the proxy (HTTPS_PROXY) and the index settings of pip and npm, then run it again',
  ],
  [
    /No matching distribution|Could not find a version/i,
    'the package index cannot be reached, or has no build for this Python and platform',
    'check the network and the index settings of pip, use Python 3.10 to 3.14, or set LIBTORCH to an unpacked libtorch 2.9 or newer',
  ],
  [
    /internal compiler error|Killed signal|cannot allocate memory|out of memory/i,
    'the machine ran out of memory',
    'close other programs (compiling needs about 2 GB) and run it again',
  ],
]);

/**
 * Runs a command; its output is kept and shown only when it fails, its last line and the time are shown meanwhile.
 *
 * @param {string} step what is done, for the person who waits
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ remedy?: string }} [options] what to do when the output does not say
 * @returns {Promise<string>} standard output and error together
 */
export async function run(step, command, args, options = {}) {
  const started = performance.now();
  const seconds = () => Math.round((performance.now() - started) / 1000);
  let output = '';
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const keep = (/** @type {Buffer} */ chunk) => (output += chunk.toString());
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const ticker = setInterval(() => showProgress(step, seconds(), lastLine(output)), 500);
  const code = await new Promise((resolve) => {
    child.on('error', (error) => {
      output += `${error.message}\n`;
      resolve(127);
    });
    child.on('close', resolve);
  });
  clearInterval(ticker);
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  if (code !== 0) throw explain(step, output, options.remedy);
  process.stderr.write(`  ${step}: ${seconds()} s\n`);
  return output;
}

/**
 * @param {string} step
 * @param {string} output of the failed command
 * @param {string | undefined} remedy
 */
export function explain(step, output, remedy) {
  const cause = CAUSES.find(([pattern]) => pattern.test(output));
  const tail = output.trim().split('\n').slice(-25).join('\n    ');
  const reason = (cause?.[1] ?? 'the command failed') + `; it said:\n    ${tail}`;
  return new SetupError(step, reason, cause?.[2] ?? remedy ?? 'read the lines above; they are from the failed command');
}

/**
 * @param {string} step
 * @param {string} directory
 * @param {number} gigabytes
 */
export function requireDisk(step, directory, gigabytes) {
  const { bavail, bsize } = statfsSync(directory);
  const free = (bavail * bsize) / 1e9;
  if (free >= gigabytes) return;
  throw new SetupError(
    step,
    `${gigabytes} GB of disk are needed in ${directory}, ${free.toFixed(1)} GB are free`,
    'free some space and run it again',
  );
}

/** @param {string} text */
export function say(text) {
  process.stderr.write(`  ${text}\n`);
}

/**
 * @param {string} step
 * @param {number} seconds
 * @param {string} line
 */
function showProgress(step, seconds, line) {
  if (!process.stderr.isTTY) return;
  const width = (process.stderr.columns || 80) - 1;
  process.stderr.write(`\r\x1b[K${`  ${step} ... ${seconds} s  ${line}`.slice(0, width)}`);
}

/** @param {string} text */
function lastLine(text) {
  return (
    text
      .trimEnd()
      .split(/[\r\n]/)
      .at(-1) ?? ''
  );
}
