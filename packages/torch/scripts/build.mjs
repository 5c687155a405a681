#!/usr/bin/env node
// @ts-check
/**
 * Builds the addon against libtorch. Plain JavaScript without dependencies: users of the npm package run it under
 * node_modules, where Node.js does not strip types.
 *
 *   node build.mjs               builds where the stamp says that something changed
 *   node build.mjs --check       exit code 1 when a build is needed; changes nothing
 *   node build.mjs --force       builds in any case
 *   node build.mjs --existing    builds with a libtorch that is there, or says how to get one (npm's install step)
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
import { OLDEST, findLibtorch, installLibtorch, installPinned, libtorchVersion } from './libtorch.mjs';
import { SetupError, run, say } from './steps.mjs';

const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)));
const native = join(packageRoot, 'native');
const build = resolve(process.env.VISURF_BUILD ?? join(packageRoot, 'build'));
const stampFile = join(build, 'stamp.json');
const addon = join(build, 'visurf_torch.node');
const signalsSource = join(packageRoot, 'signals');
const signals = join(build, 'visurf_signals.node');
const signalsStamp = join(build, 'signals.sha256');
const venv = resolve(process.env.VISURF_VENV ?? join(packageRoot, 'venv'));

/** @typedef {{ libtorch: string, version: string, sources: string }} Stamp what the addon was built from */

/** True when the addon was built from the present sources and a libtorch that is still there. */
function isFresh() {
  if (!existsSync(addon) || !existsSync(stampFile)) return false;
  /** @type {Stamp} */
  const stamp = JSON.parse(readFileSync(stampFile, 'utf8'));
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

/** Whether what ends a program that a signal does not reach is there. It needs no libtorch, and a second to compile. */
function hasSignals() {
  return existsSync(signals) && existsSync(signalsStamp) && readFileSync(signalsStamp, 'utf8') === hashSources(signalsSource); // prettier-ignore
}

async function buildSignals() {
  const compiler = requireCompiler();
  mkdirSync(build, { recursive: true });
  const flags = ['-std=c++17', '-O2', '-Wall', '-Wextra', '-fPIC', '-shared', '-pthread'];
  if (process.platform === 'darwin') flags.push('-undefined', 'dynamic_lookup');
  const defined = ['-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=visurf_signals'];
  const include = `-I${join(folderOf('node-api-headers'), 'include')}`;
  // Aside: programs may be running the one that is there.
  const aside = `${signals}.${process.pid}`;
  const source = join(signalsSource, 'signals.cc');
  await run('compiling the watch over signals', compiler, [...flags, ...defined, include, source, '-o', aside]);
  renameSync(aside, signals);
  writeFileSync(signalsStamp, hashSources(signalsSource));
}

/**
 * @param {import('node:fs').Dirent} a
 * @param {import('node:fs').Dirent} b
 */
function byPath(a, b) {
  return join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1;
}

async function buildAddon() {
  const libtorch = findLibtorch(venv) ?? (await missingLibtorch());
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

/** Installs libtorch, unless that was not asked for: its size would be a surprise. */
async function missingLibtorch() {
  if (!process.argv.includes('--existing')) return await installLibtorch(venv);
  throw new SetupError(
    'finding libtorch',
    `LIBTORCH is not set, and no Python here can import torch ${OLDEST.join('.')} or newer`,
    'install it (pip install torch), or set LIBTORCH to an unpacked libtorch, and run it again',
  );
}

/** @returns {string} its name */
function requireCompiler() {
  const compilers = [process.env.CXX, 'c++', 'g++', 'clang++'];
  const found = compilers.find((name) => name && spawnSync(name, ['--version']).status === 0);
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

try {
  if (Number(process.versions.node.split('.')[0]) < 24) {
    throw new SetupError(
      'looking at Node.js',
      `version 24 or newer is needed, this is ${process.versions.node}`,
      'install it: https://nodejs.org',
    );
  }
  const fresh = isFresh();
  const isForced = process.argv.includes('--force');
  if (process.argv.includes('--check')) process.exitCode = fresh && hasSignals() ? 0 : 1;
  else {
    if (!fresh || isForced) await buildAddon();
    if (!hasSignals() || isForced) await buildSignals();
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
