// @ts-check
/** Where libtorch comes from: `LIBTORCH`, a Python that can import torch, or a private virtual environment. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { SetupError, requireDisk, run, say } from './steps.mjs';

/** The version that is installed where none is found. */
export const PINNED = '2.13.0';
/** Versions of what compiles the addon, where a machine has none. */
export const TOOLS = { cmake: '4.1.2', ninja: '1.13.0' };
/** The oldest version whose operators and headers the bridge is written for. */
export const OLDEST = /** @type {const} */ ([2, 9]);

/** @typedef {{ directory: string, version: string, from: string }} Libtorch a folder with include/ and lib/ */

/**
 * The first usable libtorch, without installing anything.
 *
 * @param {string} venv folder of the private virtual environment
 * @returns {Libtorch | undefined}
 */
export function findLibtorch(venv) {
  if (process.env.LIBTORCH) return fromEnvironment(process.env.LIBTORCH);
  for (const python of [process.env.PYTHON, 'python3', 'python', pythonOf(venv)]) {
    const found = python ? fromPython(python) : undefined;
    if (found) return found;
  }
  return undefined;
}

/**
 * Installs the pinned PyPI package `torch` into the private virtual environment.
 *
 * @param {string} venv
 * @returns {Promise<Libtorch>}
 */
export async function installLibtorch(venv) {
  const step = `installing torch ${PINNED} for its libtorch`;
  say(`no libtorch ${OLDEST.join('.')} or newer found: torch ${PINNED} goes into ${venv}`);
  say('download: about 200 MB where pip offers a CPU build; about 3 GB (8 GB on disk) where it offers a CUDA build,');
  say("as PyPI does on Linux. pip's own index settings are honoured: PIP_INDEX_URL can name an index of CPU builds.");
  mkdirSync(venv, { recursive: true });
  requireDisk(step, venv, 1.5);
  await installPinned(step, venv, 'torch');
  const found = fromPython(pythonOf(venv));
  if (found) return found;
  throw new SetupError(
    step,
    'pip installed torch, but Python cannot import it',
    `run \`${pythonOf(venv)} -c "import torch"\` to see why`,
  );
}

/**
 * Installs a package in its pinned version. From PyPI every file, and every one of what it needs, must have a hash of
 * requirements.txt; an index of the user's own, such as one of CPU builds, has other files, and is trusted as it is.
 *
 * @param {string} step
 * @param {string} venv created where it does not exist
 * @param {'torch' | 'cmake' | 'ninja'} name
 */
export async function installPinned(step, venv, name) {
  await createVenv(venv);
  if (hasOwnIndex(venv)) {
    say('pip is set to an index of its own: what comes from there is not compared with the hashes of PyPI');
    const version = name === 'torch' ? PINNED : TOOLS[name];
    return await pipInstall(step, venv, `${name}==${version}`);
  }
  const file = join(venv, `${name}-requirements.txt`);
  writeFileSync(file, pinned(name).join('\n'));
  await pipInstall(step, venv, '--require-hashes', '--only-binary', ':all:', '-r', file);
}

/**
 * @param {string} step
 * @param {string} venv created where it does not exist
 * @param {...string} asked packages and options
 */
export async function pipInstall(step, venv, ...asked) {
  await createVenv(venv);
  await run(step, pythonOf(venv), ['-m', 'pip', 'install', '--progress-bar', 'off', ...asked]);
}

/**
 * Entries of requirements.txt: version, where it is for, hashes.
 *
 * @param {'torch' | 'cmake' | 'ninja'} name with what it needs
 * @returns {string[]}
 */
export function pinned(name) {
  const text = readFileSync(join(import.meta.dirname, 'requirements.txt'), 'utf8');
  const entries = text.split(/\n(?=[\w-]+==)/).slice(1);
  const isTool = (/** @type {string} */ entry) => Object.keys(TOOLS).some((tool) => entry.startsWith(`${tool}==`));
  return entries.filter((entry) => (name === 'torch' ? !isTool(entry) : entry.startsWith(`${name}==`)));
}

/**
 * Whether pip is told, by a file or the environment, to look elsewhere than at PyPI.
 *
 * @param {string} venv
 */
function hasOwnIndex(venv) {
  const { stdout } = spawnSync(pythonOf(venv), ['-m', 'pip', 'config', 'list'], { encoding: 'utf8' });
  return /^(?:global|install|:env:)\.(?:index-url|extra-index-url|find-links|no-index)=/m.test(stdout);
}

/** @param {string} venv */
export function pythonOf(venv) {
  return join(venv, 'bin', 'python');
}

/**
 * The version that the headers of a libtorch state.
 *
 * @param {string} directory
 * @returns {string | undefined}
 */
export function libtorchVersion(directory) {
  const headers = ['torch/headeronly/version.h', 'torch/csrc/api/include/torch/version.h'];
  for (const header of headers.map((name) => join(directory, 'include', name))) {
    if (!existsSync(header)) continue;
    const text = readFileSync(header, 'utf8');
    const part = (/** @type {string} */ name) => new RegExp(`define TORCH_VERSION_${name} (\\d+)`).exec(text)?.[1];
    const version = [part('MAJOR'), part('MINOR'), part('PATCH')];
    if (version.every((number) => number !== undefined)) return version.join('.');
  }
  return undefined;
}

/**
 * @param {string} version
 * @returns {boolean}
 */
export function isRecent(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

/**
 * @param {string} value of the environment variable
 * @returns {Libtorch}
 */
function fromEnvironment(value) {
  const directory = resolve(value);
  const version = libtorchVersion(directory);
  const remedy = `set LIBTORCH to a folder with include/ and lib/ of libtorch ${OLDEST.join('.')} or newer, or unset it`;
  if (!version) throw new SetupError('finding libtorch', `LIBTORCH=${value} holds no libtorch`, remedy);
  if (!isRecent(version)) throw new SetupError('finding libtorch', `LIBTORCH=${value} is version ${version}`, remedy);
  return { directory, version, from: 'LIBTORCH' };
}

/**
 * @param {string} python
 * @returns {Libtorch | undefined}
 */
function fromPython(python) {
  const { status, stdout } = spawnSync(python, ['-c', 'import torch; print(torch.__path__[0])'], { encoding: 'utf8' });
  if (status !== 0) return undefined;
  const directory = stdout.trim().split('\n').at(-1) ?? '';
  const version = libtorchVersion(directory);
  if (version && isRecent(version)) return { directory, version, from: python };
  say(`torch ${version ?? 'of unknown version'} of ${python} is passed over: ${OLDEST.join('.')} or newer is needed`);
  return undefined;
}

/** @param {string} venv */
async function createVenv(venv) {
  if (existsSync(pythonOf(venv)) && spawnSync(pythonOf(venv), ['-m', 'pip', '--version']).status === 0) return;
  const step = 'creating a private Python environment';
  const python = process.env.PYTHON ?? 'python3';
  if (spawnSync(python, ['--version']).status !== 0) {
    throw new SetupError(
      step,
      `there is no ${python}`,
      'install Python 3.10 or newer with its venv module (Debian: python3 python3-venv), or set LIBTORCH',
    );
  }
  mkdirSync(dirname(venv), { recursive: true });
  await run(step, python, ['-m', 'venv', '--clear', venv], {
    remedy: 'install the venv module of Python (Debian and Ubuntu: apt-get install python3-venv)',
  });
}
