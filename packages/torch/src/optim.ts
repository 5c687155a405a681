/** Optimisers, clipping by global norm, learning-rate schedules. */
import { clearAutocastCache, noGrad } from './autograd.ts';
import { native, op } from './native.ts';
import { stack, zeros } from './factories.ts';
import { block, codeBook, dequantize, dynamicMap, quantize, type CodeBook, type Quantized } from './quantized.ts';
import { keep, scope } from './scope.ts';
import { Tensor, type Device } from './tensor.ts';

const ids = {
  fusedAdamW: op('_fused_adamw_'),
  foreachNorm: op('_foreach_norm.Scalar'),
  foreachMul: op('_foreach_mul_.Scalar'),
  foreachAdd: op('_foreach_add_.Scalar'),
};

const handles = (tensors: readonly Tensor[]): number[] => tensors.map((each) => each.handle);

/** What an optimiser carries from step to step, by parameter path, ready for safetensors. */
export type OptimizerState = Map<string, Tensor>;

export interface Optimizer {
  /** Used by the next `step`; set by a schedule. */
  learningRate: number;
  /** One update of every parameter that has a gradient. */
  step(): void;
  zeroGrad(): void;
  /** The live state (not copies); `loadState` copies into it. */
  state(): OptimizerState;
  loadState(state: ReadonlyMap<string, Tensor>): void;
  dispose(): void;
}

abstract class Base implements Optimizer {
  learningRate: number;
  protected readonly named: ReadonlyMap<string, Tensor>;
  protected constructor(named: ReadonlyMap<string, Tensor>, learningRate: number) {
    this.named = named;
    this.learningRate = learningRate;
  }
  abstract state(): OptimizerState;
  protected abstract update(): void;

  step(): void {
    scope(() => {
      noGrad(() => {
        this.update();
      });
    });
    // An autocast region that is still open would go on with the weights as they were.
    clearAutocastCache();
  }
  zeroGrad(): void {
    for (const each of this.named.values()) each.grad = undefined;
  }
  loadState(state: ReadonlyMap<string, Tensor>): void {
    noGrad(() => {
      for (const [key, mine] of this.state()) {
        const saved = state.get(key);
        if (!saved) throw new Error(`the optimiser state has no ${key}`);
        if (saved.shape.join() !== mine.shape.join())
          throw new Error(
            `${key} of the optimiser has shape [${mine.shape.join(', ')}], not [${saved.shape.join(', ')}]`,
          );
        if ((saved.dtype === 'uint8') !== (mine.dtype === 'uint8'))
          throw new Error(`${key} of the optimiser is ${mine.dtype}, not ${saved.dtype}`);
        mine.copy_(saved);
      }
    });
  }
  dispose(): void {
    for (const each of this.state().values()) each.dispose();
  }
  protected withGrad(): [string, Tensor, Tensor][] {
    const found: [string, Tensor, Tensor][] = [];
    for (const [name, parameter] of this.named) {
      const gradient = parameter.grad;
      if (gradient) found.push([name, parameter, gradient]);
    }
    return found;
  }
}

export interface AdamWOptions {
  readonly learningRate: number;
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
}

/** Decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101), fused over all parameters. */
export class AdamW extends Base {
  readonly #betas: readonly [number, number];
  readonly #eps: number;
  readonly #weightDecay: number;
  readonly #moments = new Map<string, { mean: Tensor; square: Tensor; steps: Tensor }>();

  constructor(named: ReadonlyMap<string, Tensor>, options: AdamWOptions) {
    super(named, options.learningRate);
    this.#betas = options.betas ?? [0.9, 0.999];
    this.#eps = options.eps ?? 1e-8;
    this.#weightDecay = options.weightDecay ?? 0.01;
    for (const [name, { shape, dtype, device }] of named) {
      const make = (): Tensor => keep(zeros(shape, { dtype, device }));
      this.#moments.set(name, {
        mean: make(),
        square: make(),
        steps: keep(zeros([], { device })),
      });
    }
  }

  protected update(): void {
    const active = this.withGrad();
    if (active.length === 0) return;
    const moments = active.map(([name]) => this.#of(name));
    const steps = handles(moments.map((each) => each.steps));
    native.call(ids.foreachAdd, steps, 1);
    native.call(
      ids.fusedAdamW,
      handles(active.map(([, parameter]) => parameter)),
      handles(active.map(([, , gradient]) => gradient)),
      handles(moments.map((each) => each.mean)),
      handles(moments.map((each) => each.square)),
      [],
      steps,
      this.learningRate,
      this.#betas[0],
      this.#betas[1],
      this.#weightDecay,
      this.#eps,
      false,
      false,
    );
  }

  state(): OptimizerState {
    const state: OptimizerState = new Map();
    for (const [name, { mean, square, steps }] of this.#moments) {
      state.set(`exp_avg.${name}`, mean).set(`exp_avg_sq.${name}`, square).set(`step.${name}`, steps);
    }
    return state;
  }

  #of(name: string): { mean: Tensor; square: Tensor; steps: Tensor } {
    const found = this.#moments.get(name);
    if (!found) throw new Error(`no optimiser state for ${name}`);
    return found;
  }
}

/** Elements whose moments share a magnitude where they are kept in 8 bits. */
export const block8bit = block;
/** Parameters of fewer elements keep their moments in float32. */
export const smallest8bit = 4096;
/** Elements whose moments are numbers at one time, a multiple of a block. */
const atOnce = 1 << 24;

export interface AdamW8bitOptions extends AdamWOptions {
  /** Elements of the parameter of that name, where only a part of it, of whole blocks, is given. */
  readonly sizeOf?: (name: string) => number;
}

interface Moments8bit {
  readonly mean: Quantized;
  readonly square: Quantized;
  /** On the CPU. */
  readonly steps: Tensor;
}

/**
 * AdamW whose moments are kept in 8 bits between updates (Dettmers et al., arXiv 2110.02861), with the numbers of
 * bitsandbytes' block-wise `AdamW8bit`. Parameters are float32.
 */
export class AdamW8bit extends Base {
  readonly #options: Required<AdamWOptions>;
  /** Of small parameters. */
  readonly #plain: AdamW;
  readonly #moments = new Map<string, Moments8bit>();
  readonly #books = new Map<string, readonly [CodeBook, CodeBook]>();

  constructor(named: ReadonlyMap<string, Tensor>, { sizeOf, ...options }: AdamW8bitOptions) {
    super(named, options.learningRate);
    this.#options = { betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, ...options };
    const isSmall = (name: string, { numel }: Tensor): boolean => (sizeOf?.(name) ?? numel) < smallest8bit;
    this.#plain = new AdamW(new Map([...named].filter(([name, each]) => isSmall(name, each))), options);
    for (const [name, parameter] of named) {
      if (isSmall(name, parameter)) continue;
      const { shape, device, numel } = parameter;
      const make = (): Quantized => ({
        codes: keep(zeros(shape, { dtype: 'uint8', device })),
        magnitudes: keep(zeros([Math.ceil(numel / block)], { device })),
      });
      this.#moments.set(name, { mean: make(), square: make(), steps: keep(zeros([], { device: 'cpu' })) });
    }
  }

  override step(): void {
    this.#plain.learningRate = this.learningRate;
    this.#plain.step();
    super.step();
  }

  protected update(): void {
    for (const [name, parameter, gradient] of this.withGrad()) {
      const moments = this.#moments.get(name);
      if (!moments) continue;
      moments.steps.add_(1);
      const count = moments.steps.item();
      for (let at = 0; at < parameter.numel; at += atOnce)
        scope(() => this.#move(parameter, gradient, moments, count, at));
    }
  }

  /** The parameter's elements from `at`. */
  #move(parameter: Tensor, gradient: Tensor, moments: Moments8bit, count: number, at: number): void {
    const length = Math.min(atOnce, parameter.numel - at);
    const part = (x: Tensor): Tensor => x.view(-1).narrow(0, at, length);
    const partOf = ({ codes, magnitudes }: Quantized): Quantized => ({
      codes: part(codes),
      magnitudes: magnitudes.narrow(0, at / block, Math.ceil(length / block)),
    });
    const [signed, unsigned] = this.#booksOn(parameter.device);
    const { betas, eps, weightDecay } = this.#options;
    const [weight, change] = [part(parameter), part(gradient.contiguous())];
    const [keptMean, keptSquare] = [partOf(moments.mean), partOf(moments.square)];
    const mean = dequantize(keptMean, signed)
      .mul(betas[0])
      .add_(change, 1 - betas[0]);
    const square = dequantize(keptSquare, unsigned)
      .mul(betas[1])
      .addcmul_(change, change, 1 - betas[1]);
    const root = square
      .sqrt()
      .div_(Math.sqrt(1 - betas[1] ** count))
      .add_(eps);
    if (weightDecay > 0) weight.mul_(1 - this.learningRate * weightDecay);
    weight.sub_(mean.div(root), this.learningRate / (1 - betas[0] ** count));
    for (const [kept, now, book] of [
      [keptMean, mean, signed],
      [keptSquare, square, unsigned],
    ] as const) {
      const { codes, magnitudes } = quantize(now, book);
      kept.codes.copy_(codes);
      kept.magnitudes.copy_(magnitudes);
    }
  }

  #booksOn(device: Device): readonly [CodeBook, CodeBook] {
    const make = (signed: boolean): CodeBook => {
      const { values, bounds } = codeBook(dynamicMap(signed), device);
      return { values: keep(values), bounds: keep(bounds) };
    };
    const books = this.#books.get(device) ?? ([make(true), make(false)] as const);
    this.#books.set(device, books);
    return books;
  }

  state(): OptimizerState {
    const state = this.#plain.state();
    for (const [name, { mean, square, steps }] of this.#moments) {
      for (const [moment, { codes, magnitudes }] of [
        ['exp_avg', mean],
        ['exp_avg_sq', square],
      ] as const)
        state.set(`${moment}.${name}`, codes).set(`${moment}_absmax.${name}`, magnitudes);
      state.set(`step.${name}`, steps);
    }
    return state;
  }

  override dispose(): void {
    super.dispose();
    for (const books of this.#books.values())
      for (const { values, bounds } of books) [values, bounds].forEach((each) => each.dispose());
  }
}

export interface SGDOptions {
  readonly learningRate: number;
  readonly momentum?: number;
  readonly weightDecay?: number;
}

/** v = momentum v + g; p -= lr v. Without momentum no state is kept. */
export class SGD extends Base {
  readonly #momentum: number;
  readonly #weightDecay: number;
  readonly #velocity = new Map<string, Tensor>();

  constructor(named: ReadonlyMap<string, Tensor>, options: SGDOptions) {
    super(named, options.learningRate);
    this.#momentum = options.momentum ?? 0;
    this.#weightDecay = options.weightDecay ?? 0;
    if (this.#momentum === 0) return;
    for (const [name, { shape, dtype, device }] of named)
      this.#velocity.set(name, keep(zeros(shape, { dtype, device })));
  }

  protected update(): void {
    for (const [name, parameter, gradient] of this.withGrad()) {
      const decayed = this.#weightDecay === 0 ? gradient : gradient.add(parameter.mul(this.#weightDecay));
      const velocity = this.#velocity.get(name)?.mul_(this.#momentum).add_(decayed) ?? decayed;
      parameter.sub_(velocity, this.learningRate);
    }
  }

  state(): OptimizerState {
    return new Map([...this.#velocity].map(([name, velocity]) => [`momentum.${name}`, velocity]));
  }
}

/**
 * Scales all gradients so that their joint 2-norm is at most `max`.
 * @returns the norm before.
 */
export function clipGradNorm(parameters: Iterable<Tensor>, max: number): number {
  return scope(() =>
    noGrad(() => {
      const gradients = [...parameters].flatMap((each) => each.grad ?? []);
      if (gradients.length === 0) return 0;
      const norms = (native.call(ids.foreachNorm, handles(gradients)) as number[]).map((each) => new Tensor(each));
      // One copy from the device, which has to finish its work for each.
      const total = Math.hypot(...stack(norms).toFloat64Array());
      if (total > max) native.call(ids.foreachMul, handles(gradients), max / (total + 1e-6));
      return total;
    }),
  );
}

/** The largest magnitude in any of the tensors, NaN where one is in them, 0 without any: one copy from their device. */
export function largest(tensors: Iterable<Tensor>): number {
  return scope(() =>
    noGrad(() => {
      const all = handles([...tensors]);
      if (all.length === 0) return 0;
      const norms = (native.call(ids.foreachNorm, all, Infinity) as number[]).map((each) => new Tensor(each));
      return Math.max(...stack(norms).toFloat64Array());
    }),
  );
}

export interface Schedule {
  readonly warmupSteps: number;
  readonly decay: 'constant' | 'linear' | 'cosine';
  /** The share of the learning rate that is left at the end. */
  readonly floor: number;
}

/** The factor of the learning rate in update `step` (from 0) of `steps`; the decay begins where the warm-up ends. */
export function scheduleFactor(step: number, steps: number, { warmupSteps, decay, floor }: Schedule): number {
  const warm = warmupSteps > 0 ? Math.min(1, (step + 1) / warmupSteps) : 1;
  const progress = Math.min(1, Math.max(0, step - warmupSteps) / Math.max(1, steps - warmupSteps));
  if (decay === 'constant') return warm;
  if (decay === 'linear') return warm * Math.max(floor, 1 - progress);
  return warm * (floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * progress)));
}
