import { existsSync, globSync } from 'node:fs';
import { availableParallelism, freemem, totalmem } from 'node:os';
import type { Command } from 'commander';
import type { AboutModel, Machine } from '@visurf/core';
import { example, withJson, withSource } from './options.ts';
import type { JsonOption, SourceOptions } from './options.ts';
import { downloads, print, printJson, table } from './output.ts';

/** Something that works without, and what having it would give. */
interface OptionalPart {
  readonly name: string;
  readonly found: boolean;
  readonly gives: string;
}

export function defineDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .description('print what was found on this machine, and what is missing; or what a model is')
    .option(
      '--model <dir>',
      'a directory, a run, or owner/name on the hub: its family, size, and what is trained of it',
    );
  withJson(withSource(command)).action(async ({ json, ...source }: DoctorOptions) => {
    if (source.model !== undefined) {
      const { aboutModel } = await import('@visurf/core');
      const about = await aboutModel(source.model, { ...source, onProgress: downloads() });
      return json ? printJson(about) : print(describeModel(about));
    }
    const machine = await probe();
    const failed = typeof machine === 'string';
    const parts = optionalParts(failed ? undefined : machine);
    const host = {
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
      cores: availableParallelism(),
      memory: { total: totalmem(), free: freemem() },
    };
    if (json) printJson({ ...host, ...(failed ? { problem: machine } : machine), optional: parts });
    else print(describe(host, machine, parts));
    if (failed) process.exitCode = 1;
  });
  example(command, 'visurf doctor', 'visurf doctor --model Qwen/Qwen3-VL-4B-Instruct');
}

interface DoctorOptions extends JsonOption, SourceOptions {
  readonly model?: string;
}

/** Family, size, what is trained. */
export function describeModel({ family, modelType, parameters, layers, dtype, ...rest }: AboutModel): string {
  const count = (value: number): string =>
    value < 1e6
      ? String(value)
      : value < 1e9
        ? `${(value / 1e6).toFixed(1)} million`
        : `${(value / 1e9).toFixed(2)} billion`;
  const rows = [
    ['family', `${family} (${modelType})`],
    ['size', `${count(parameters.all)} parameters, ${count(parameters.vision)} of them vision`],
    ['layers', `${layers.language} of the decoder, ${layers.vision} of the vision tower`],
    ['weights', dtype ?? 'of a dtype that config.json does not state'],
    ['four bits', `hold ${count(parameters.packable)} of them under adapters: train.lora.quantize: nf4`],
    ['places', rest.coordinates === 'resized' ? 'pixels of the resized image' : 'thousandths of each side'],
    ['thinks', rest.thinks ? 'always: prompts open a thought' : 'where the question asks for it'],
    ...(rest.ignored ? [['left out', `${rest.ignored}, where files hold them`]] : []),
  ];
  const trained = rest.trained.map(({ settings, parameters: own, adapters }) => [
    settings,
    `${count(own)} parameters${adapters === undefined ? '' : `, adapters of ${adapters} linear layers`}`,
  ]);
  return `${table(['', 'is'], rows)}\n\n${table(['with', 'is trained'], trained)}`;
}

/** The machine, or why the library does not load. */
async function probe(): Promise<Machine | string> {
  try {
    const { probeMachine } = await import('@visurf/core');
    return probeMachine();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function optionalParts(machine: Machine | undefined): OptionalPart[] {
  const preloaded = process.env.LD_PRELOAD?.includes('jemalloc') === true;
  return [
    {
      name: 'GPU',
      found: (machine?.torch.cudaDevices ?? 0) > 0,
      gives: 'training of models of billions of parameters (an NVIDIA GPU, and a libtorch built for CUDA)',
    },
    {
      name: 'fast bfloat16',
      found: machine !== undefined && hasFastHalf(machine.gemm),
      gives: 'faster steps with precision: bfloat16 (a CPU with AVX512-BF16 or AMX, or a GPU)',
    },
    {
      name: 'jemalloc',
      found: preloaded || globSync('/usr/lib{,64}/{,*/}libjemalloc.so.2').some((path) => existsSync(path)),
      gives: 'less memory held by tensors that were freed (Debian and Ubuntu: apt-get install libjemalloc2)',
    },
  ];
}

interface Host {
  readonly node: string;
  readonly platform: string;
  readonly cores: number;
  readonly memory: { readonly total: number; readonly free: number };
}

function describe(host: Host, machine: Machine | string, parts: readonly OptionalPart[]): string {
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  const rows = [
    ['Node.js', `${host.node} on ${host.platform}`],
    ['memory', `${gigabytes(host.memory.total)}, ${gigabytes(host.memory.free)} free`],
    ...(typeof machine === 'string' ? [['libtorch', `not usable: ${machine}`]] : describeMachine(machine, host.cores)),
  ];
  const missing = parts.filter(({ found }) => !found).map(({ name, gives }) => [name, gives]);
  const found = parts.filter((part) => part.found).map(({ name }) => name);
  if (found.length > 0) rows.push(['optional', `found: ${found.join(', ')}`]);
  const optional = missing.length > 0 ? `\n\n${table(['not found', 'would give'], missing)}` : '';
  return table(['', 'found'], rows) + optional;
}

function describeMachine({ torch, libtorchPath, gemm, kernels, cards }: Machine, cores: number): string[][] {
  return [
    ['libtorch', `${torch.version} in ${libtorchPath ?? 'an unknown place'}`],
    ['threads', `${torch.threads} of ${cores} cores`],
    ['instructions', `${torch.cpuCapability}${torch.mkl ? ', with MKL' : ''}`],
    ['float32', `${gemm.float32.toFixed(0)} GFLOP/s (1024^3 matrix product)`],
    [
      'bfloat16',
      `${gemm.bfloat16.toFixed(0)} GFLOP/s${hasFastHalf(gemm) ? '' : ': precision: float32 is the better choice'}`,
    ],
    ['our kernels', `${describeLevel(torch, kernels)}, ${kernels.float32.toFixed(0)} GFLOP/s (attention in training)`],
    ...describeCards(torch, cards).map((said, i) => [i === 0 ? 'GPU' : '', said]),
  ];
}

/** Cards, or what keeps libtorch from them. */
export function describeCards(
  { cuda, cudaDevices }: Pick<Machine['torch'], 'cuda' | 'cudaDevices'>,
  { driver, problem, cards }: Machine['cards'],
): string[] {
  if (driver === undefined)
    return [
      cuda ? 'none: this libtorch is built for CUDA, but there is no driver of NVIDIA here (libcuda.so.1)' : 'none',
    ];
  const serves = `the driver serves CUDA ${Math.floor(driver / 1000)}.${(driver % 1000) / 10}`;
  if (problem !== undefined) return [`none that works: ${serves}, but says: ${problem}`];
  if (cards.length === 0) return [`none: ${serves}, but finds no card`];
  const all = cards.map(
    ({ name, memory, capability }, i) =>
      `cuda:${i}: ${name}, ${(memory / 1e9).toFixed(1)} GB, capability ${capability}`,
  );
  if (cudaDevices > 0) return [...all, serves];
  const why = cuda
    ? `libtorch cannot use it: ${serves}, and this libtorch may need a newer one`
    : 'not used: this libtorch is built for the CPU alone (pip install torch gives one that is built for CUDA; then set up again)';
  return [...all, why];
}

const hasFastHalf = ({ float32, bfloat16 }: Machine['gemm']): boolean => bfloat16 > float32;

/** The instruction set of our kernels, and the one that they could have. */
function describeLevel({ kernels: level }: Machine['torch'], { levels }: Machine['kernels']): string {
  const widest = levels.at(-1)?.toUpperCase() ?? level;
  return widest === level ? level : `${level} of ${widest} (ATEN_CPU_CAPABILITY, or libtorch, holds them back)`;
}
