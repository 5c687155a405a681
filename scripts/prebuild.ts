/**
 * Addons for the package of prebuilt ones, one for every minor version of libtorch in prebuilt-headers.txt: compiled in
 * `.tools/prebuilt` against headers alone, and kept there until a native source changes. That of this checkout is taken as
 * it is, where its libtorch has no CUDA.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pipInstall } from '../packages/torch/scripts/fetch.mjs';
import { isCuda } from '../packages/torch/scripts/libtorch.mjs';
import { minorOf } from '../packages/torch/scripts/prebuilt.mjs';

const root = resolve(import.meta.dirname, '..');
const tools = join(root, '.tools');
const venv = join(tools, 'venv');
const build = join(root, 'packages/torch/build');

/** The package's name, which the library looks for. */
export const PREBUILT = `@visurf/torch-${process.platform}-${process.arch}`;

interface Version {
  readonly minor: string;
  readonly version: string;
  /** A line for pip. */
  readonly line: string;
}

function versions(): Version[] {
  const lines = readFileSync(join(import.meta.dirname, 'prebuilt-headers.txt'), 'utf8').split('\n');
  return lines.flatMap((line) => {
    const version = /^torch==(\S+)/.exec(line)?.[1];
    return version === undefined ? [] : [{ minor: minorOf(version), version, line }];
  });
}

/** @returns a folder with `include/` of a version, fetched where it is not there */
async function headersOf({ version, line }: Version): Promise<string> {
  const folder = join(tools, 'prebuilt', `headers-${version}`);
  const torch = join(folder, 'torch');
  if (existsSync(join(torch, 'include'))) return torch;
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  const file = join(part, 'requirements.txt');
  writeFileSync(file, `${line}\n`);
  const python = ['--python-version', '3.11', '--implementation', 'cp', '--platform', 'manylinux_2_28_x86_64'];
  const asked = ['--target', part, '--no-deps', '--only-binary', ':all:', ...python, '--require-hashes', '-r', file];
  await pipInstall(`headers of libtorch ${version} (download: about 550 MB)`, venv, ...asked);
  mkdirSync(folder, { recursive: true });
  cpSync(join(part, 'torch/include'), join(torch, 'include'), { recursive: true });
  rmSync(part, { recursive: true });
  return torch;
}

/** Whether the checkout's own addon is for this version, and for any copy of it. */
function isOwn({ minor }: Version): boolean {
  const { libtorch = '', version = '' } = JSON.parse(readFileSync(join(build, 'stamp.json'), 'utf8')) as Stamp;
  return minorOf(version) === minor && !isCuda(libtorch);
}

interface Stamp {
  readonly libtorch?: string;
  readonly version?: string;
}

/** @returns the folder of the addon for a version */
async function addonOf(each: Version): Promise<string> {
  if (isOwn(each)) return build;
  const folder = join(tools, 'prebuilt', each.minor);
  const env = { ...process.env, LIBTORCH: await headersOf(each), VISURF_BUILD: folder, VISURF_VENV: venv };
  const script = join(root, 'packages/torch/scripts/build.mjs');
  const { status } = spawnSync(process.execPath, [script, '--portable'], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status === 0) return folder;
  throw new Error(`the addon for libtorch ${each.version} does not compile`);
}

/**
 * Puts addons into a folder, by minor version, with the small ones that need no libtorch.
 * @param own only that of this checkout, which costs nothing
 * @returns the minor versions
 */
export async function prebuild(target: string, own: boolean): Promise<string[]> {
  const wanted = versions().filter((each) => !own || isOwn(each));
  for (const each of wanted) {
    mkdirSync(join(target, each.minor), { recursive: true });
    cpSync(join(await addonOf(each), 'visurf_torch.node'), join(target, each.minor, 'visurf_torch.node'));
  }
  for (const name of ['signals', 'preload']) {
    cpSync(join(build, `visurf_${name}.node`), join(target, `visurf_${name}.node`));
  }
  return wanted.map(({ minor }) => minor);
}
