/** The addon: opened once per thread, typed, and with `TorchError` for whatever goes wrong inside libtorch. */
import { createRequire } from 'node:module';
import { types } from 'node:util';
import { chooseAddon, librariesOf, minorOf, smallAddon, type Choice } from '../scripts/prebuilt.mjs';

/** An error of libtorch or of the bridge, with the operator and the shapes of the tensors it was called with. */
export class TorchError extends Error {
  override readonly name = 'TorchError';
  readonly operator: string;
  /** Operands such as `Float[2, 3], Long[4]`; empty when no tensor was involved. */
  readonly shapes: string;

  constructor(message: string, operator = '', shapes = '') {
    const context = [operator, shapes && `(${shapes})`].filter(Boolean).join(' ');
    super(context ? `${context}: ${message}` : message);
    this.operator = operator;
    this.shapes = shapes;
  }
}

/** Whether memory was not enough, of the CPU or of a device. */
export const isOutOfMemory = (error: unknown): boolean =>
  error instanceof TorchError && /out of memory|not enough memory for a tensor/.test(error.message);

/** A tensor on the native side; 0 is "no tensor". */
export type Handle = number;
/** What an operator takes: handles for tensors, arrays for lists, `undefined` for the schema's default. */
export type NativeValue = number | bigint | string | boolean | null | undefined | readonly NativeValue[];
export type NativeResult = number | string | boolean | null | undefined | NativeResult[];

/** Facts about the libtorch in use. */
export interface TorchInfo {
  readonly version: string;
  readonly threads: number;
  /** The widest vector instructions libtorch uses, e.g. `AVX512`. */
  readonly cpuCapability: string;
  /** Those that our own kernels use: the same, where they are compiled for them. */
  readonly kernels: string;
  /** Whether it is built for CUDA; what there is of it is in `cudaDevices`. */
  readonly cuda: boolean;
  readonly cudaDevices: number;
  readonly mkl: boolean;
  /** PyTorch's own description of its thread pools and of the environment that set them. */
  readonly parallel: string;
}

/** Memory of a device that has its own, in bytes. */
export interface DeviceMemory {
  /** By the driver, whoever uses it; undefined where libtorch is older than 2.10. */
  readonly free?: number;
  readonly total?: number;
  /** By tensors, what autograd keeps included. */
  readonly allocated: number;
  /** Of `allocated`, since the last `resetPeakAllocated`. */
  readonly peak: number;
  /** By libtorch, for tensors. */
  readonly reserved: number;
}

/** NVIDIA's cards, by the word of their driver: whatever libtorch can do with them. */
export interface Cards {
  /** The newest CUDA that it serves, 13000 for 13.0; undefined: there is none. */
  readonly driver?: number;
  /** Why it does not do its work. */
  readonly problem?: string;
  readonly cards: readonly { readonly name: string; readonly memory: number; readonly capability: string }[];
}

/** A collective on its way, kept on the native side. */
export type Collective = object & { readonly collective: unique symbol };

/** A process that comes to others. */
interface Comer {
  readonly host: string;
  readonly port: number;
  readonly prefix: string;
  /** Where others reach this process. */
  readonly address: string;
  readonly rank: number;
  readonly size: number;
  /** Lines `NAME VALUE`. */
  readonly terms: string;
  /** Milliseconds. */
  readonly timeout: number;
  readonly hosted: boolean;
  readonly cards: boolean;
}

interface Native {
  join(comer: Comer): Promise<void>;
  decline(comer: Comer, why: string): Promise<void>;
  awaited(): number[] | undefined;
  allReduce(handle: Handle, how: 'sum' | 'max' | 'min'): Collective;
  reduceScatter(out: Handle, input: Handle): Collective;
  allGather(out: Handle, input: Handle): Collective;
  broadcast(handle: Handle, from: number): Collective;
  await(collective: Collective): void;
  whenDone(collective: Collective): Promise<void>;
  fault(): { readonly ranks: number[]; readonly text: string } | undefined;
  carriesCards(): boolean;
  stopAll(): void;
  isStopping(): boolean;
  leave(reason?: string): void;
  setErrorClass(constructor: typeof TorchError): void;
  resolve(name: string, overload: string): number;
  results(id: number): boolean[];
  call: (id: number, ...values: readonly NativeValue[]) => NativeResult;
  fromBytes(data: NodeJS.TypedArray, shape: readonly number[], dtype: number): Handle;
  toBytes(handle: Handle): ArrayBuffer;
  toNumbers(handle: Handle): ArrayBuffer;
  shape(handle: Handle): number[];
  dtype(handle: Handle): number;
  device(handle: Handle): string;
  dispose(handle: Handle): void;
  disposeAll(handles: Uint32Array, count: number): void;
  live(): { handles: number; bytes: number };
  allocated(): { bytes: number; peak: number };
  resetPeakAllocated(): void;
  deviceMemory(device: string): DeviceMemory | undefined;
  resetDevicePeak(device: string): void;
  cards(): Cards;
  /** `cut`: once its first number is not 0 the pass ends at its next node, with an error; so does that of `grad`. */
  backward: (outputs: Handle[], gradOutputs: Handle[] | null, retainGraph: boolean, cut?: Int32Array) => void;
  grad: (
    outputs: Handle[],
    inputs: Handle[],
    gradOutputs: Handle[] | null,
    retainGraph: boolean,
    createGraph: boolean,
    allowUnused: boolean,
    cut?: Int32Array,
  ) => Handle[];
  gradOf(handle: Handle): Handle;
  setGradOf(handle: Handle, grad: Handle): void;
  accumulateGrad(leaf: Handle, gradient: Handle): void;
  requiresGrad(handle: Handle): boolean;
  setRequiresGrad(handle: Handle, value: boolean): void;
  setGradEnabled(enabled: boolean): boolean;
  isGradEnabled(): boolean;
  enterInferenceMode(): void;
  exitInferenceMode(): void;
  enterAutocast(device: string, dtype: number): [boolean, number];
  exitAutocast(device: string, enabled: boolean, dtype: number): void;
  clearAutocastCache(): void;
  newGenerator(seed: bigint, device: string): number;
  generatorState(id: number): Handle;
  setGeneratorState(id: number, state: Handle): void;
  releaseGenerator(id: number): void;
  manualSeed(seed: bigint): void;
  setNumThreads(threads: number): void;
  setDeterministic(on: boolean): boolean;
  canRecord(): boolean;
  beginRecording(device: string): number;
  endRecording(id: number): void;
  replay(id: number): void;
  disposeRecording(id: number): void;
  startStandIn(): void;
  standInKernels(): string[];
  info(): TorchInfo;
}

const AGAIN = `run \`${import.meta.url.includes('/node_modules/') ? 'npx visurf' : 'make'} setup\``;
const require = createRequire(import.meta.url);

/** Opens libtorch, whose names the addon finds then. */
function openLibtorch(directory: string): void {
  const file = smallAddon('preload');
  if (file === undefined) throw new TorchError(`the native addon is half built (no visurf_preload.node): ${AGAIN}`);
  const { open } = require(file) as { open: (library: string) => string | undefined };
  for (const library of librariesOf(directory)) {
    const reason = open(library);
    if (reason !== undefined) throw new TorchError(`libtorch in ${directory} does not load: ${reason}\n  ${AGAIN}`);
  }
}

/** @throws TorchError where there is no addon, or its libtorch is not the one that it was built for */
function choose(): Choice {
  let chosen: Choice | string;
  try {
    chosen = chooseAddon();
  } catch (error) {
    // LIBTORCH names a folder that is none.
    throw new TorchError(error instanceof Error ? error.message : String(error));
  }
  if (typeof chosen === 'string') throw new TorchError(`${chosen}: ${AGAIN}`);
  return chosen;
}

function load(): Native {
  const { file, directory, version: found } = choose();
  let native: Native;
  // Threads of OpenMP that wait spin, by default for so long that they take the processor from others, and from the
  // thread they wait for. The runtime reads this once, as it is loaded.
  const { GOMP_SPINCOUNT, OMP_WAIT_POLICY } = process.env;
  const isChosen = GOMP_SPINCOUNT !== undefined || OMP_WAIT_POLICY !== undefined;
  if (!isChosen) process.env['GOMP_SPINCOUNT'] = '100000';
  // cuBLAS computes the same twice with this alone, and reads it once, too.
  process.env['CUBLAS_WORKSPACE_CONFIG'] ??= ':4096:8';
  openLibtorch(directory);
  try {
    native = require(file) as Native;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TorchError(`the native addon does not load with libtorch ${found} (${directory}): ${reason}\n  ${AGAIN}`);
  }
  if (!isChosen) delete process.env['GOMP_SPINCOUNT'];
  native.setErrorClass(TorchError);
  const { version } = native.info();
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (minorOf(version) !== minorOf(found)) {
    throw new TorchError(`the addon is for libtorch ${version}, and ${directory} holds ${found}: ${AGAIN}`);
  }
  if (major < 2 || (major === 2 && minor < 9)) {
    throw new TorchError(
      `libtorch ${version} is too old, 2.9 or newer is needed: point LIBTORCH to one and set up again`,
    );
  }
  return native;
}

/** Opened with its first use: who computes nothing does not wait for libtorch, half a second of processor time. */
export let native: Native = new Proxy({} as Native, {
  get(_, name): unknown {
    const opened = load();
    operators.forEach((operator, id) => resolve(opened, operator, id));
    native = opened;
    return Reflect.get(opened, name);
  },
});
const isOpen = (): boolean => !types.isProxy(native);

/** By their ids, which the addon gives in the order in which it is asked. */
const operators: string[] = [];
const operatorIds = new Map<string, number>();

function resolve(from: Native, name: string, id: number): void {
  const dot = name.indexOf('.');
  const base = dot < 0 ? name : name.slice(0, dot);
  const given = from.resolve(base.includes('::') ? base : `aten::${base}`, dot < 0 ? '' : name.slice(dot + 1));
  if (given !== id) throw new TorchError(`operator ${id} has become ${given}`, name);
}

/** The id of an ATen operator, e.g. `op('add.Tensor')`. @throws TorchError, with the first use of libtorch where that has none */
export function op(name: string): number {
  const known = operatorIds.get(name);
  if (known !== undefined) return known;
  const id = operators.length;
  if (isOpen()) resolve(native, name, id);
  operatorIds.set(name, id);
  operators.push(name);
  return id;
}

/** One operator call as a profile sees it; times in milliseconds of `performance.now()`. */
export type ObserveCall = (operator: string, start: number, duration: number) => void;

/**
 * Reports every operator call of this thread until the returned function is called. Calls of the autograd engine are
 * not seen one by one: they belong to `backward` and `grad`.
 */
export function observeCalls(observe: ObserveCall): () => void {
  const { call, backward, grad } = native;
  const timed = <T>(name: string, body: () => T): T => {
    const start = performance.now();
    try {
      return body();
    } finally {
      observe(name, start, performance.now() - start);
    }
  };
  native.call = (id, ...values) => timed(operators[id] ?? `operator ${id}`, () => call(id, ...values));
  native.backward = (...values) => timed('backward', () => backward(...values));
  native.grad = (...values) => timed('grad', () => grad(...values));
  return () => Object.assign(native, { call, backward, grad });
}

export const info = (): TorchInfo => native.info();
export const cards = (): Cards => native.cards();
export const setNumThreads = (threads: number): void => native.setNumThreads(threads);
/** Seeds the default generator of the CPU, from which initialisers and dropout draw. */
export const manualSeed = (seed: number | bigint): void => native.manualSeed(BigInt(seed));
