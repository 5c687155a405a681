#!/usr/bin/env node
// @ts-check
/**
 * Builds the addon against libtorch. Plain JavaScript without dependencies: users of the npm package run it under
 * node_modules, where Node.js does not strip types.
 *
 *   node build.mjs               builds where the stamp says that something changed
 *   node build.mjs --check       exit code 1 when a build is needed; changes nothing
 *   node build.mjs --force       builds in any case
 *   node build.mjs --existing    with a libtorch that is there, or says how to get one (npm's install step)
 *   node build.mjs --cpu         fetches a libtorch for the CPU alone where there is none; --cuda: one for CUDA
 *   node build.mjs --portable    for any copy of this version, with or without CUDA: of LIBTORCH the headers are enough
 *
 * Where the package of prebuilt addons (prebuilt.mjs) has one for the libtorch that is found, nothing is built.
 *
 * Environment: LIBTORCH (a libtorch to use), PYTHON (the Python to look into), VISURF_VENV (the private environment),
 * VISURF_BUILD (the folder to build in; the library loads the addon from there where it is set).
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchLibtorch, installLibtorch, installPinned } from './fetch.mjs';
import { OLDEST, findLibtorch, isCuda, libtorchVersion, privateVenv } from './libtorch.mjs';
import { buildFolder, prebuiltFor, prebuiltFolder } from './prebuilt.mjs';
import { SetupError, run, say } from './steps.mjs';

const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)));
const native = join(packageRoot, 'native');
const build = buildFolder();
const stampFile = join(build, 'stamp.json');
const addon = join(build, 'visurf_torch.node');
const venv = privateVenv();
/** Addons without libtorch, of one file in a folder of their name. */
const SMALL = /** @type {const} */ (['signals', 'preload']);

/** @typedef {{ libtorch: string, version: string, sources: string }} Stamp what the addon was built from */

/** True when the addon was built from the present sources and a libtorch that is still there. */
function isFresh() {
  if (!existsSync(addon) || !existsSync(stampFile)) return false;
  /** @type {Stamp} */
  const stamp = JSON.parse(readFileSync(stampFile, 'utf8'));
  if (asks('--cuda') && !isCuda(stamp.libtorch)) return false;
  if (process.env.LIBTORCH && resolve(process.env.LIBTORCH) !== stamp.libtorch) return false;
  return stamp.sources === hashSources() && libtorchVersion(stamp.libtorch) === stamp.version;
}

/** A hash over native sources and the versions of the headers they are compiled with. */
function hashSources(folder = native) {
  const hash = createHash('sha256');
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }).sort(byPath))
    if (entry.isFile()) hash.update(entry.name).update(readFileSync(join(entry.parentPath, entry.name)));
  for (const name of ['node-addon-api', 'node-api-headers']) hash.update(JSON.stringify(packageJson(name).version));
  return hash.digest('hex');
}

/** @param {string} name of a small addon, which takes a second to compile */
function has(name) {
  const stamp = join(build, `${name}.sha256`);
  const isThere = existsSync(join(build, `visurf_${name}.node`)) && existsSync(stamp);
  return isThere && readFileSync(stamp, 'utf8') === hashSources(join(packageRoot, name));
}

/** @param {string} name */
async function buildSmall(name) {
  const compiler = requireCompiler();
  mkdirSync(build, { recursive: true });
  const flags = ['-std=c++17', '-O2', '-Wall', '-Wextra', '-fPIC', '-shared', '-pthread'];
  if (process.platform === 'darwin') flags.push('-undefined', 'dynamic_lookup');
  const defined = ['-DNAPI_VERSION=8', `-DNODE_GYP_MODULE_NAME=visurf_${name}`];
  const include = `-I${join(folderOf('node-api-headers'), 'include')}`;
  // Aside: programs may be running the one that is there.
  const file = join(build, `visurf_${name}.node`);
  const aside = `${file}.${process.pid}`;
  const source = join(packageRoot, name, `${name}.cc`);
  await run(`compiling ${name}`, compiler, [...flags, ...defined, include, source, '-o', aside]);
  renameSync(aside, file);
  writeFileSync(join(build, `${name}.sha256`), hashSources(join(packageRoot, name)));
}

/**
 * @param {import('node:fs').Dirent} a
 * @param {import('node:fs').Dirent} b
 */
function byPath(a, b) {
  return join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1;
}

async function buildAddon() {
  const libtorch = await libtorchHere();
  say(`libtorch ${libtorch.version} in ${libtorch.directory} (from ${libtorch.from})`);
  requireCompiler();
  const cmake = await tool('cmake');
  const ninja = await tool('ninja');
  rmSync(join(build, 'CMakeCache.txt'), { force: true });
  mkdirSync(build, { recursive: true });
  const definitions = {
    CMAKE_BUILD_TYPE: 'Release',
    CMAKE_MAKE_PROGRAM: ninja,
    TORCH_DIR: libtorch.directory,
    NODE_API_HEADERS: join(folderOf('node-api-headers'), 'include'),
    NODE_ADDON_API: folderOf('node-addon-api'),
    PORTABLE: asks('--portable') ? 'ON' : 'OFF',
  };
  const defines = Object.entries(definitions).map(([name, value]) => `-D${name}=${value}`);
  const sources = hashSources();
  // From here on until it is there, what is there may be half of one.
  rmSync(stampFile, { force: true });
  await run('configuring the addon', cmake, ['-S', native, '-B', build, '-G', 'Ninja', ...defines]);
  await run('compiling the addon', cmake, ['--build', build]);
  /** @type {Stamp} */
  const stamp = { libtorch: libtorch.directory, version: libtorch.version, sources };
  writeFileSync(stampFile, `${JSON.stringify(stamp, null, 2)}\n`);
}

/** The libtorch that is there, else one that is installed, unless that was not asked for: its size would be a surprise. */
async function libtorchHere() {
  const found = findLibtorch(venv, say);
  if (found && !(asks('--cuda') && !isCuda(found.directory))) return found;
  const named = ['LIBTORCH', 'PYTHON'].find((name) => found && process.env[name]);
  if (named) {
    const remedy = `unset ${named}: one with CUDA is fetched then`;
    throw new SetupError('finding libtorch', `${named} names a libtorch without CUDA (${found?.directory})`, remedy);
  }
  if (asks('--cpu')) return await fetchLibtorch(venv);
  if (!asks('--existing')) return await installLibtorch(venv);
  throw new SetupError(
    'finding libtorch',
    `LIBTORCH is not set, and no Python here can import torch ${OLDEST.join('.')} or newer`,
    'install it (pip install torch), or set LIBTORCH to an unpacked libtorch, and run it again',
  );
}

const findCompiler = () =>
  [process.env.CXX, 'c++', 'g++', 'clang++'].find((name) => name && spawnSync(name, ['--version']).status === 0);

/** @returns {string} its name */
function requireCompiler() {
  const found = findCompiler();
  if (found) return found;
  throw new SetupError(
    'finding a C++ compiler',
    'there is neither c++, g++ nor clang++',
    'install GCC 11, Clang 14 or newer (Debian and Ubuntu: apt-get install g++), or set CXX',
  );
}

/**
 * The machine's own program, else the one of the PyPI package of that name.
 *
 * @param {'cmake' | 'ninja'} name
 */
async function tool(name) {
  if (spawnSync(name, ['--version']).status === 0) return name;
  const path = join(venv, 'bin', name);
  if (!existsSync(path)) await installPinned(`installing ${name}`, venv, name);
  return path;
}

/** @param {string} name of a dependency */
function folderOf(name) {
  return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
}

/**
 * @param {string} name
 * @returns {{ version: string }}
 */
function packageJson(name) {
  return JSON.parse(readFileSync(join(folderOf(name), 'package.json'), 'utf8'));
}

/** @param {string} option */
const asks = (option) => process.argv.includes(option);

/**
 * What came prebuilt and is as good as what would be built.
 *
 * @param {import('./libtorch.mjs').Libtorch} libtorch
 */
function usesPrebuilt({ directory, version }) {
  if (asks('--force') || !prebuiltFor(version)) return false;
  // Built here it records what a GPU does for every token. Nothing compiles unasked, as packages are installed.
  return !isCuda(directory) || asks('--existing') || !findCompiler();
}

/** With the package of prebuilt addons. @returns whether nothing is left to do */
async function settlePrebuilt() {
  const found = asks('--existing') ? findLibtorch(venv, say) : await libtorchHere();
  if (!found) {
    say('no libtorch was found: `npx visurf setup` fetches one (it says how large it is), or set LIBTORCH');
    return true;
  }
  if (!usesPrebuilt(found)) return false;
  // What was built for another libtorch would be loaded first.
  rmSync(addon, { force: true });
  say(`libtorch ${found.version} in ${found.directory}, with the prebuilt addon`);
  return true;
}

try {
  if (Number(process.versions.node.split('.')[0]) < 24) {
    throw new SetupError(
      'looking at Node.js',
      `version 24 or newer is needed, this is ${process.versions.node}`,
      'install it: https://nodejs.org',
    );
  }
  const fresh = isFresh();
  const isForced = asks('--force');
  if (asks('--check')) process.exitCode = fresh && SMALL.every(has) ? 0 : 1;
  else if (fresh || !prebuiltFolder() || !(await settlePrebuilt())) {
    if (!fresh || isForced) await buildAddon();
    for (const name of SMALL) if (!has(name) || isForced) await buildSmall(name);
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
