// @ts-check
/** What set-up fetches from PyPI, by pip: libtorch, and what compiles the addon, in one version each and by its hash. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { OLDEST, fetchedFolder, findLibtorch } from './libtorch.mjs';
import { SetupError, requireDisk, run, say } from './steps.mjs';

/** The version that is installed where none is found. */
export const PINNED = '2.13.0';
/** Versions of what compiles the addon, where a machine has none. */
export const TOOLS = { cmake: '4.1.2', ninja: '1.13.0' };

/**
 * The pinned package `torch` of the index that pip is set to, with everything that it needs.
 *
 * @param {string} venv
 */
export async function installLibtorch(venv) {
  const step = `installing torch ${PINNED} for its libtorch`;
  say(`torch ${PINNED} goes into ${venv}`);
  say('download: about 200 MB where pip offers a CPU build; about 3 GB (8 GB on disk) where it offers a CUDA build,');
  say("as PyPI does on Linux. pip's own index settings are honoured: PIP_INDEX_URL can name an index of CPU builds.");
  mkdirSync(venv, { recursive: true });
  requireDisk(step, venv, 1.5);
  await installPinned(step, venv, 'torch');
  return fetched(step, venv);
}

/** What the CPU's part of a CUDA build is linked to. */
const CPU_NEEDS = ['nvidia-cuda-cupti', 'nvidia-cuda-runtime'];
/** What a program without CUDA has no use for: the CUDA part, Python's, and its tests'. */
const USELESS = /^lib(torch_cuda|torch_python|torch_nvshmem|c10_cuda|caffe2_nvrtc|torch_cuda_linalg|shm)/;

/**
 * A libtorch for the CPU alone: pip's CPU build where it is offered one, else that part of PyPI's build for CUDA.
 *
 * @param {string} venv
 */
export async function fetchLibtorch(venv) {
  const step = `fetching libtorch ${PINNED} for the CPU`;
  const folder = fetchedFolder(venv);
  say(`libtorch ${PINNED} for the CPU goes into ${folder}`);
  say('download: about 550 MB from PyPI, 200 MB where the index that pip is set to offers a CPU build; 0.5 GB on disk');
  mkdirSync(venv, { recursive: true });
  requireDisk(step, venv, 2);
  await createVenv(venv);
  rmSync(folder, { recursive: true, force: true });
  const target = ['--target', folder, '--no-deps', '--only-binary', ':all:'];
  // Its libraries are the same for every Python, and this one may be one that it is not built for.
  const any = ['--python-version', '3.12', '--implementation', 'cp'];
  if (hasOwnIndex(venv)) await pipInstall(step, venv, ...target, `torch==${PINNED}`);
  else
    await pipInstall(
      step,
      venv,
      ...target,
      ...any,
      '--require-hashes',
      '-r',
      hashed(venv, 'libtorch', [pinnedOf('torch')]),
    );
  const libraries = join(folder, 'torch', 'lib');
  if (existsSync(join(libraries, 'libtorch_cuda.so'))) {
    const needs = CPU_NEEDS.map(pinnedOf);
    const file = hashed(venv, 'libtorch', needs);
    await pipInstall(`${step}: what it is linked to`, venv, ...target, '--require-hashes', '-r', file);
  }
  for (const name of readdirSync(libraries)) if (USELESS.test(name)) rmSync(join(libraries, name), { recursive: true });
  for (const name of readdirSync(join(folder, 'torch')))
    if (!['include', 'lib'].includes(name)) rmSync(join(folder, 'torch', name), { recursive: true });
  return fetched(step, venv);
}

/**
 * @param {string} step
 * @param {string} venv
 */
function fetched(step, venv) {
  const found = findLibtorch(venv);
  if (found) return found;
  const remedy = `set LIBTORCH to an unpacked libtorch ${OLDEST.join('.')} or newer`;
  throw new SetupError(step, `what pip fetched holds no libtorch (${venv})`, remedy);
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
  await pipInstall(step, venv, '--require-hashes', '--only-binary', ':all:', '-r', hashed(venv, name, pinned(name)));
}

/**
 * @param {string} venv
 * @param {string} name
 * @param {readonly string[]} entries
 * @returns {string} a file for pip
 */
function hashed(venv, name, entries) {
  const file = join(venv, `${name}-requirements.txt`);
  writeFileSync(file, entries.join('\n'));
  return file;
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
  const entries = locked();
  const isTool = (/** @type {string} */ entry) => Object.keys(TOOLS).some((tool) => entry.startsWith(`${tool}==`));
  return entries.filter((entry) => (name === 'torch' ? !isTool(entry) : entry.startsWith(`${name}==`)));
}

function locked() {
  const text = readFileSync(join(import.meta.dirname, 'requirements.txt'), 'utf8');
  return text.split(/\n(?=[\w-]+==)/).slice(1);
}

/**
 * The entry of one package, without what it needs.
 *
 * @param {string} name
 */
function pinnedOf(name) {
  const entry = locked().find((each) => each.startsWith(`${name}==`));
  if (!entry) throw new Error(`requirements.txt has no ${name}`);
  return entry;
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
function pythonOf(venv) {
  return join(venv, 'bin', 'python');
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
