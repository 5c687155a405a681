/**
 * Gradients in shares (ZeRO stage 2, arXiv 1910.02054): every process has all weights, and of the gradients, and of what
 * an optimiser keeps, one slice of every parameter (slices.ts). As soon as a block's backward pass is done its gradients go
 * to those that have their slices (reduce-scatter) and are freed; after the step every process collects all weights again
 * (all-gather). Gradients of weights in bfloat16 are added up in float32, and steps move slices of their masters (masters.ts);
 * what travels back is bfloat16.
 */
import { empty, keep, noGrad, scope, stack, zeros, type distributed, type DType, type Tensor } from '@visurf/torch';

import type { GradientWatch } from '../model/stage.ts';
import { bucketsOf, Departures } from './departures.ts';
import type { Master } from './masters.ts';
import { fill, read, sliceLength, sliceOf, type Columns } from './slices.ts';

/** Elements of messages that are under way at most, but for a single one. */
const UNDER_WAY = 1 << 28;

interface Piece extends Columns {
  readonly name: string;
  readonly parameter: Tensor;
  /** Elements of this process's slice. */
  readonly own: number;
}

/** What is exchanged at once. */
interface Matrix {
  readonly pieces: readonly Piece[];
  /** Columns in all. */
  readonly width: number;
}

interface Bucket extends Matrix {
  /** Its weights as they come back, by dtype. */
  readonly weights: readonly Matrix[];
  /** Of this process's slices; undefined before the first. */
  sum: Tensor | undefined;
}

interface Message {
  readonly pending: distributed.Pending;
  readonly bucket: Bucket;
  /** [width]: what comes in. */
  readonly part: Tensor;
  /** [processes * width]: what goes out. */
  readonly whole: Tensor;
}

function sideBySide(parameters: readonly Omit<Piece, 'at'>[]): Matrix {
  let width = 0;
  const pieces = parameters.map((each) => ({ ...each, at: (width += each.length) - each.length }));
  return { pieces, width };
}

/** In which gradients of a parameter are added up. */
const wide = ({ dtype }: Tensor): DType => (dtype === 'bfloat16' ? 'float32' : dtype);

export class GradientShares implements GradientWatch {
  /** This process's slice of every parameter, [elements], by name: in the parameter's own memory, or its master's. */
  readonly slices: ReadonlyMap<string, Tensor>;
  readonly #group: distributed.ProcessGroup;
  readonly #buckets: readonly Bucket[];
  readonly #departures: Departures;
  /** Parameters that had a gradient here, since `clear`. */
  readonly #touched = new Set<string>();
  /** Those that had one anywhere, once `norm` has been asked for. */
  #moved = new Set<string>();
  #messages: Message[] = [];

  /** @param masters of parameters in bfloat16 */
  constructor(
    parameters: ReadonlyMap<string, Tensor>,
    group: distributed.ProcessGroup,
    masters: ReadonlyMap<string, Master>,
    enough?: number,
  ) {
    this.#group = group;
    const slices = new Map<string, Tensor>();
    const buckets = bucketsOf(parameters, wide, enough);
    this.#buckets = buckets.map((bucket): Bucket => {
      const pieces = bucket.map(([name, parameter]) => {
        const length = sliceLength(parameter.numel, group.size);
        const { from, own } = sliceOf(parameter.numel, length, group.rank);
        const view = (): Tensor => keep(scope(() => parameter.detach().view(-1).narrow(0, from, own)));
        slices.set(name, masters.get(name)?.slice ?? view());
        return { name, parameter, length, own };
      });
      const weights = [...Map.groupBy(pieces, ({ parameter }) => parameter.dtype).values()].map(sideBySide);
      return { ...sideBySide(pieces), weights, sum: undefined };
    });
    this.#departures = new Departures(buckets, (i) => {
      this.#send(this.#buckets[i]!);
    });
    this.slices = slices;
  }

  /** Bytes of gradients that are kept here. */
  get bytes(): number {
    return this.#buckets.reduce((all, { sum }) => all + (sum ? sum.numel * (sum.dtype === 'float64' ? 8 : 4) : 0), 0);
  }

  begin(stages: readonly (readonly Tensor[])[]): void {
    this.#departures.begin(stages);
  }
  stageDone(): void {
    this.#departures.stageDone();
  }

  /** Starts the exchange of a bucket, of which this process may have no gradient at all. */
  #send(bucket: Bucket): void {
    const { pieces, width } = bucket;
    const [{ parameter }] = pieces as [Piece];
    const [dtype, { device }] = [wide(parameter), parameter];
    const { size } = this.#group;
    const all = (): number => this.#messages.reduce((sum, { whole: { numel } }) => sum + numel, size * width);
    while (this.#messages.length > 0 && all() > UNDER_WAY) {
      const first = this.#messages.shift()!;
      first.pending.wait();
      this.#take(first);
    }
    const [whole, part] = scope(() =>
      noGrad(() => {
        const flat = keep(zeros([size * width], { dtype, device }));
        const matrix = flat.view(size, width);
        for (const piece of pieces) {
          const gradient = piece.parameter.grad;
          if (!gradient) continue;
          fill(matrix, piece, gradient);
          this.#touched.add(piece.name);
          piece.parameter.grad = undefined;
        }
        return [flat, keep(empty([width], { dtype, device }))] as const;
      }),
    );
    this.#messages.push({ pending: this.#group.reduceScatter(part, whole), bucket, part, whole });
  }

  #take({ bucket, part, whole }: Message): void {
    whole.dispose();
    if (bucket.sum) {
      noGrad(() => bucket.sum!.add_(part));
      part.dispose();
    } else bucket.sum = part;
  }

  /** To be called by all after every backward pass: by those that had none, after `begin([])`. */
  async collect(): Promise<void> {
    this.#departures.requireOver();
    for (let message = this.#messages.shift(); message; message = this.#messages.shift()) {
      await message.pending.done;
      this.#take(message);
    }
  }

  /**
   * The norm of the whole gradient, the same in all processes, which is then scaled to at most `max`.
   * @returns the norm before
   */
  async clip(max: number): Promise<number> {
    const norms = scope(() => {
      const own = this.#buckets.flatMap(({ sum }) => (sum ? [sum.norm().to('float64')] : []));
      return own.length > 0 ? [...stack(own).toFloat64Array()] : [];
    });
    const squares = norms.reduce((all, each) => all + each ** 2, 0);
    const names = [...this.slices.keys()];
    const [square = 0, ...touched] = await this.#group.agree([
      squares,
      ...names.map((name) => (this.#touched.has(name) ? 1 : 0)),
    ]);
    this.#moved = new Set(names.filter((_, i) => touched[i]! > 0));
    const norm = Math.sqrt(square);
    if (norm > max) noGrad(() => this.#buckets.forEach(({ sum }) => sum?.mul_(max / (norm + 1e-6))));
    return norm;
  }

  /** Gives the slices their gradients; those of parameters that had none anywhere get none. */
  assign(): void {
    scope(() => {
      for (const { pieces, sum } of this.#buckets) {
        for (const { name, at, own } of pieces) {
          this.slices.get(name)!.grad = sum && this.#moved.has(name) ? sum.narrow(0, at, own) : undefined;
        }
      }
    });
  }

  /** After a step: every process gets all weights that were moved. */
  async spread(): Promise<void> {
    let before: (() => Promise<void>) | undefined;
    const moved = ({ pieces }: Matrix): boolean => pieces.some(({ name }) => this.#moved.has(name));
    // One is under way while the one before it is put in its place.
    for (const matrix of this.#buckets.flatMap(({ weights }) => weights.filter(moved))) {
      const next = this.#gather(matrix);
      await before?.();
      before = next;
    }
    await before?.();
  }

  #gather({ pieces, width }: Matrix): () => Promise<void> {
    const { dtype, device } = pieces[0]!.parameter;
    const { size } = this.#group;
    const [part, whole] = scope(() =>
      noGrad(() => {
        const own = keep(zeros([width], { dtype, device }));
        for (const piece of pieces) own.narrow(0, piece.at, piece.own).copy_(this.slices.get(piece.name)!);
        return [own, keep(empty([size * width], { dtype, device }))] as const;
      }),
    );
    const pending = this.#group.allGather(whole, part);
    return async () => {
      await pending.done;
      scope(() =>
        noGrad(() => {
          const matrix = whole.view(size, width);
          for (const piece of pieces) read(matrix, piece, piece.parameter.detach());
        }),
      );
      whole.dispose();
      part.dispose();
    };
  }

  /** Forgets all gradients. */
  clear(): void {
    for (const bucket of this.#buckets) {
      bucket.sum?.dispose();
      bucket.sum = undefined;
      for (const { name, parameter } of bucket.pieces) this.slices.get(name)!.grad = parameter.grad = undefined;
    }
    this.#touched.clear();
    this.#moved.clear();
  }

  dispose(): void {
    this.clear();
    for (const each of this.slices.values()) each.dispose();
  }
}
