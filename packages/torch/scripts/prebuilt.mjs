// @ts-check
/** Which addon is loaded: one that was built here, else one that came prebuilt for the version of the libtorch that is found. */

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findLibtorch, isCuda, libtorchVersion, privateVenv } from './libtorch.mjs';

/** Where addons are built, with a stamp that says from what. */
export const buildFolder = () =>
  resolve(process.env.VISURF_BUILD ?? join(dirname(fileURLToPath(import.meta.url)), '..', 'build'));

/** The package of addons for machines like this one, a folder for every minor version of libtorch; undefined: not installed. */
export function prebuiltFolder() {
  const name = `@visurf/torch-${process.platform}-${process.arch}/package.json`;
  try {
    return dirname(createRequire(import.meta.url).resolve(name));
  } catch {
    return undefined;
  }
}

/** @param {string} version of libtorch, which keeps its interface between patches */
export const minorOf = (version) => version.split('.').slice(0, 2).join('.');

/**
 * The addon for a version of libtorch.
 *
 * @param {string} version
 */
export function prebuiltFor(version) {
  const folder = prebuiltFolder();
  const file = folder && join(folder, minorOf(version), 'visurf_torch.node');
  return file && existsSync(file) ? file : undefined;
}

/** A small addon without libtorch. @param {'signals' | 'preload'} name */
export function smallAddon(name) {
  const places = [buildFolder(), prebuiltFolder()].flatMap((folder) => folder ?? []);
  return places.map((folder) => join(folder, `visurf_${name}.node`)).find((file) => existsSync(file));
}

/** @typedef {{ file: string, directory: string, version: string }} Choice an addon and the libtorch that it is loaded with */

/**
 * What to load, or why there is nothing.
 *
 * @returns {Choice | string}
 */
export function chooseAddon() {
  const file = join(buildFolder(), 'visurf_torch.node');
  if (existsSync(file)) return built(file);
  const folder = prebuiltFolder();
  if (!folder) return `the native addon is not built (${file} is missing)`;
  const libtorch = findLibtorch(privateVenv());
  const minors = readdirSync(folder).filter((name) => /^\d+\.\d+$/.test(name));
  const versions = minors.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).join(', ');
  if (!libtorch) return `there is no libtorch here: LIBTORCH is not set, and no Python has torch ${versions}`;
  const { directory, version } = libtorch;
  const prebuilt = prebuiltFor(version);
  if (!prebuilt) return `there is no prebuilt addon for libtorch ${version} (${directory}), only for ${versions}`;
  return { file: prebuilt, directory, version };
}

/**
 * @param {string} file
 * @returns {Choice | string}
 */
function built(file) {
  const stamp = join(dirname(file), 'stamp.json');
  if (!existsSync(stamp)) return `the native addon is half built (${stamp} is missing)`;
  /** @type {{ libtorch: string, version: string }} */
  const { libtorch: directory, version } = JSON.parse(readFileSync(stamp, 'utf8'));
  const now = libtorchVersion(directory);
  if (now === version) return { file, directory, version };
  const what = now === undefined ? 'is gone' : `is libtorch ${now} now`;
  return `the native addon was built for libtorch ${version} in ${directory}, which ${what}`;
}

/**
 * Files to open, in this order: those of CUDA register their kernels as they are opened.
 *
 * @param {string} directory of libtorch
 */
export function librariesOf(directory) {
  const extension = process.platform === 'darwin' ? 'dylib' : 'so';
  const names = ['torch_cpu', ...(isCuda(directory) ? ['torch_cuda'] : [])];
  return names.map((name) => join(directory, 'lib', `lib${name}.${extension}`));
}
