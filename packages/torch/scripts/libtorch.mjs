// @ts-check
/** Where libtorch is: `LIBTORCH`, what set-up has fetched, or a Python that has torch. The library asks, too, as it loads. */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { SetupError } from './steps.mjs';

/** The oldest version whose operators and headers the bridge is written for. */
export const OLDEST = /** @type {const} */ ([2, 9]);

/** @typedef {{ directory: string, version: string, from: string }} Libtorch a folder with include/ and lib/ */

/** The private environment for what set-up fetches: it outlives `node_modules`. */
export const privateVenv = () =>
  resolve(
    process.env.VISURF_VENV ??
      join(process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? tmpdir(), '.cache'), 'visurf', 'venv'),
  );

/**
 * Folder of packages of the private environment that hold a libtorch for the CPU alone.
 *
 * @param {string} venv
 */
export const fetchedFolder = (venv) => join(venv, 'libtorch');

/**
 * The first usable libtorch, without installing anything.
 *
 * @param {string} venv folder of the private virtual environment
 * @param {(text: string) => void} [note] is told what is passed over
 * @returns {Libtorch | undefined}
 */
export function findLibtorch(venv, note = () => undefined) {
  if (process.env.LIBTORCH) return fromEnvironment(process.env.LIBTORCH);
  const places = [
    () => process.env.PYTHON && packageOf(process.env.PYTHON),
    () => inVenv(venv),
    () => join(fetchedFolder(venv), 'torch'),
    () => packageOf('python3'),
    () => packageOf('python'),
  ];
  for (const place of places) {
    const directory = place();
    const version = directory ? libtorchVersion(directory) : undefined;
    if (!directory || !version) continue;
    if (isRecent(version)) return { directory, version, from: place === places[0] ? 'PYTHON' : directory };
    note(`torch ${version} in ${directory} is passed over: ${OLDEST.join('.')} or newer is needed`);
  }
  return undefined;
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

/** @param {string} directory */
export const isCuda = (directory) => existsSync(join(directory, 'lib', 'libtorch_cuda.so'));

/**
 * @param {string} version
 * @returns {boolean}
 */
function isRecent(version) {
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
 * Folder of the package torch of a Python, which is not imported: that takes seconds.
 *
 * @param {string} python
 * @returns {string | undefined}
 */
function packageOf(python) {
  const found = "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])";
  const { status, stdout } = spawnSync(python, ['-c', found], { encoding: 'utf8' });
  return status === 0 ? stdout.trim().split('\n').at(-1) : undefined;
}

/**
 * @param {string} venv
 * @returns {string | undefined}
 */
function inVenv(venv) {
  const lib = join(venv, 'lib');
  const python = existsSync(lib) ? readdirSync(lib).find((name) => name.startsWith('python')) : undefined;
  return python && join(lib, python, 'site-packages', 'torch');
}
