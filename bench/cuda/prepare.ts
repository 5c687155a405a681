/**
 * Builds what a dry run needs, in `.tools`: the CUDA build of libtorch from PyPI without NVIDIA's libraries, our runtime
 * in their place (runtime.cc, and for what nobody calls a function that returns 0), and the addon against both.
 */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { PINNED, pipInstall } from '../../packages/torch/scripts/fetch.mjs';
import { requireDisk, run } from '../../packages/torch/scripts/steps.mjs';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const tools = join(root, '.tools');
const venv = join(tools, 'cuda-venv');
const folder = join(tools, 'cuda-runtime');
const headersOf = ['runtime', 'crt', 'cccl']
  .map((each) => `nvidia-cuda-${each}==13.0.*`)
  .concat('nvidia-nccl-cu13==2.29.7');
const source = fileURLToPath(new URL('runtime.cc', import.meta.url));

/** Loaded by Node.js it tells what it counted; loaded before libtorch it is the runtime. */
export const runtime = join(folder, 'runtime.node');

/** Environment of a program that runs on the card that computes nothing. */
export const environment = {
  LD_PRELOAD: runtime,
  LD_LIBRARY_PATH: folder,
  VISURF_BUILD: join(tools, 'cuda-build'),
  // cuDNN's attention asks the library for plans, and there is none.
  TORCH_CUDNN_SDPA_DEPRIORITIZED: '1',
};

function sitePackages(): string | undefined {
  const lib = join(venv, 'lib');
  const python = existsSync(lib) ? readdirSync(lib).find((name) => name.startsWith('python')) : undefined;
  return python && join(lib, python, 'site-packages');
}

/** What collectives of cards need of libraries whose packages are large: names of types. */
const handles = {
  'cusparse.h': 'typedef struct cusparseContext* cusparseHandle_t; typedef int cusparseStatus_t;',
  'cublas_v2.h': 'typedef struct cublasContext* cublasHandle_t; typedef int cublasStatus_t;',
  'cublasLt.h': 'typedef struct cublasLtContext* cublasLtHandle_t;',
  'cusolverDn.h': 'typedef struct cusolverDnContext* cusolverDnHandle_t;',
  'cusolver_common.h': 'typedef int cusolverStatus_t;',
};

const torchLibraries = (): string => join(sitePackages() ?? venv, 'torch', 'lib');
const headers = (): string => join(sitePackages() ?? venv, 'nvidia', 'cu13', 'include');

async function libtorch(): Promise<void> {
  const last = Object.keys(handles).at(-1)!;
  if (existsSync(join(torchLibraries(), 'libtorch_cuda.so')) && existsSync(join(headers(), last))) return;
  const step = `installing torch ${PINNED} with CUDA (download: 0.8 GB)`;
  mkdirSync(venv, { recursive: true });
  requireDisk(step, tools, 3);
  // `===`: not the CPU build of the same version that another index may have.
  await pipInstall(step, venv, '--no-deps', `torch===${PINNED}`, ...headersOf);
  // What was built without these headers is built again.
  rmSync(environment.VISURF_BUILD, { recursive: true, force: true });
  for (const [name, text] of Object.entries(handles)) writeFileSync(join(headers(), name), `${text}\n`);
}

function output(command: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

const nvidia = /^(__cuda|cuda|cublas|cusparse|cudnn|nccl|cu[A-Z]|cupti|nvshmem|nvrtc|cufft|curand|cufile|cusolver)/i;

/** Functions of NVIDIA's that libtorch calls, with the version it asks for, and the libraries it looks for them in. */
function wanted(): { functions: Map<string, string>; libraries: Set<string> } {
  const functions = new Map<string, string>();
  const libraries = new Set(['libcuda.so.1']);
  for (const name of readdirSync(torchLibraries()).filter((each) => each.endsWith('.so'))) {
    const file = join(torchLibraries(), name);
    for (const [, symbol = '', version = ''] of output('nm', ['-D', '--undefined-only', file]).matchAll(
      /^\s+[Uw] (\w+)(?:@(\S+))?$/gm,
    ))
      if (nvidia.test(symbol)) functions.set(symbol, version);
    for (const [, library = ''] of output('readelf', ['-d', file]).matchAll(/\(NEEDED\).*\[(lib(?:cu|nv|nccl).*)\]/g))
      libraries.add(library);
  }
  return { functions, libraries };
}

/** One library under all names, so that whoever looks for one of NVIDIA's finds it. */
async function buildRuntime(): Promise<void> {
  const { functions, libraries } = wanted();
  const own = readFileSync(source, 'utf8');
  const isOurs = (name: string): boolean => new RegExp(`[ *]${name}\\(`).test(own);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const rest = [...functions.keys()].filter((name) => !isOurs(name));
  const stubs = rest.map((name) => `long ${name}() { return 0; }\n`);
  writeFileSync(join(folder, 'rest.cc'), `extern "C" {\n${stubs.join('')}}\n`);
  const versions = Map.groupBy(functions, ([, version]) => version);
  versions.delete('');
  const script = [...versions].map(
    ([version, names]) => `${version} { ${names.map(([name]) => `${name};`).join(' ')} };`,
  );
  writeFileSync(join(folder, 'versions'), `${script.join('\n')}\n`);
  const node = join(root, 'node_modules', 'node-api-headers', 'include');
  const compiler = process.env['CXX'] ?? 'c++';
  await run('compiling the runtime', compiler, [
    ...['-std=c++20', '-O2', '-Wall', '-fPIC', '-shared', '-DNAPI_VERSION=8', `-I${headers()}`, `-I${node}`],
    ...[source, join(folder, 'rest.cc'), `-Wl,--version-script=${join(folder, 'versions')}`],
    ...['-o', runtime],
  ]);
  for (const each of libraries) symlinkSync(runtime, join(folder, each));
}

function addon(): void {
  const build = join(root, 'packages', 'torch', 'scripts', 'build.mjs');
  const env = {
    ...process.env,
    VISURF_BUILD: environment.VISURF_BUILD,
    // Its own place: checkouts may share tools by links.
    LIBTORCH: realpathSync(join(torchLibraries(), '..')),
    VISURF_VENV: join(tools, 'venv'),
  };
  const { status } = spawnSync(process.execPath, [build], { env, stdio: 'inherit' });
  if (status !== 0) throw new Error('the addon does not build against the CUDA build of libtorch');
}

/** Does what is not done yet. */
export async function prepare(): Promise<void> {
  await libtorch();
  const stamp = join(folder, 'built-from');
  const sources = [source, fileURLToPath(import.meta.url)].map((file) => readFileSync(file, 'utf8')).join('\0');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== sources) {
    await buildRuntime();
    writeFileSync(stamp, sources);
  }
  addon();
}
