/**
 * An optimiser whose state, and whose masters of weights in bfloat16, are shared out over processes as gradients are
 * (zero.ts); in files they are whole.
 */
import {
  empty,
  keep,
  noGrad,
  optim,
  saveSafetensors,
  scope,
  tensor,
  zeros,
  type distributed,
  type LazyTensor,
  type Tensor,
} from '@visurf/torch';

import type { Config } from '../config/schema.ts';
import type { Master } from './masters.ts';
import { makeOptimizer } from './optimizer.ts';
import { sliceLength, sliceOf } from './slices.ts';
import { GradientShares } from './zero.ts';

/** The first process asks for tensors by place; by this one for none any more. */
const DISMISSED = -1;

/** How a tensor is shared out. */
interface Shared {
  readonly shape: readonly number[];
  readonly numel: number;
  /** Elements of a process's slice; 0: it is the same in all. */
  readonly length: number;
}

export class ShardedOptimizer implements optim.Optimizer {
  readonly shares: GradientShares;
  readonly #parameters: ReadonlyMap<string, Tensor>;
  readonly #masters: ReadonlyMap<string, Master>;
  readonly #group: distributed.ProcessGroup;
  readonly #inner: optim.Optimizer;

  /** @param masters of weights in bfloat16, also of those that are not trained; they are freed with the optimiser */
  constructor(
    parameters: ReadonlyMap<string, Tensor>,
    group: distributed.ProcessGroup,
    config: Config['optimizer'],
    masters: ReadonlyMap<string, Master> = new Map(),
    enough?: number,
  ) {
    [this.#parameters, this.#masters, this.#group] = [parameters, masters, group];
    this.shares = new GradientShares(parameters, group, masters, enough);
    this.#inner = makeOptimizer(this.shares.slices, config, (name) => parameters.get(name)!.numel);
  }

  get learningRate(): number {
    return this.#inner.learningRate;
  }
  set learningRate(value: number) {
    this.#inner.learningRate = value;
  }

  /** Moves this process's slices; `shares.spread` then tells all. */
  step(): void {
    this.shares.assign();
    this.#inner.step();
  }
  zeroGrad(): void {
    this.shares.clear();
  }
  /** Of this process's slices. */
  state(): optim.OptimizerState {
    return this.#inner.state();
  }
  dispose(): void {
    this.#inner.dispose();
    this.shares.dispose();
    for (const { slice } of this.#masters.values()) slice.dispose();
  }

  /** Takes its slices of a whole state, of however many processes. */
  loadState(state: ReadonlyMap<string, Tensor>): void {
    scope(() => {
      const slices = new Map<string, Tensor>();
      for (const [key, whole] of state) {
        const mine = this.state().get(key);
        // What the optimiser does not know it refuses itself.
        slices.set(key, mine ? this.#sliceIn(key, whole) : whole);
      }
      this.#inner.loadState(slices);
    });
  }

  /** Takes its slices of masters, of which `whole` has all numbers. */
  loadMasters(whole: (key: string) => Tensor): void {
    scope(() =>
      noGrad(() => {
        for (const [key, master] of this.#masters)
          master.slice.copy_(this.#cut(whole(key), this.#sharedMaster(master)));
      }),
    );
  }

  /** In the first process: writes the whole state, which the others help with by `serve`. */
  save(file: string): void {
    const shared = [...this.state()].map(([key, mine]) => [key, mine, this.#sharedAs(key, mine)] as const);
    saveSafetensors(file, this.#gathered(shared, 0));
  }

  /** In the first process: weights in bfloat16 with the numbers of their masters, likewise. */
  wholeMasters(): Map<string, LazyTensor> {
    const shared = [...this.#masters].map(([key, master]) => [key, master.slice, this.#sharedMaster(master)] as const);
    return this.#gathered(shared, this.state().size);
  }

  /** @param first place of the first of them among all that may be asked for */
  #gathered(tensors: readonly (readonly [string, Tensor, Shared])[], first: number): Map<string, LazyTensor> {
    const lazy = tensors.map(([key, mine, shared], i): [string, LazyTensor] => {
      const make = (): Tensor => {
        this.#announce(first + i).pending.wait();
        return this.#gather(mine, shared);
      };
      return [key, { dtype: mine.dtype, shape: shared.shape, make }];
    });
    return new Map(lazy);
  }

  /** In the others: gives what the first one asks for, until that dismisses them. */
  async serve(): Promise<void> {
    const all = [
      ...[...this.state()].map(([key, mine]) => [mine, this.#sharedAs(key, mine)] as const),
      ...[...this.#masters.values()].map((master) => [master.slice, this.#sharedMaster(master)] as const),
    ];
    for (;;) {
      const { asked, pending } = this.#announce(DISMISSED);
      await pending.done;
      const place = asked.item();
      asked.dispose();
      if (place === DISMISSED) return;
      scope(() => void this.#gather(...all[place]!));
    }
  }

  /** In the first one: nothing more is asked of the others. */
  dismiss(): void {
    this.#announce(DISMISSED).pending.wait();
  }

  #announce(place: number): { readonly asked: Tensor; readonly pending: distributed.Pending } {
    const asked = keep(tensor([place], { dtype: 'int64', device: 'cpu' }));
    return { asked, pending: this.#group.broadcast(asked) };
  }

  #sliceIn(key: string, whole: Tensor): Tensor {
    const shared = this.#sharedAs(key, this.state().get(key)!);
    const { shape, length } = shared;
    if (whole.shape.join() !== shape.join()) {
      throw new Error(`${key} of the optimiser has shape [${shape.join(', ')}], not [${whole.shape.join(', ')}]`);
    }
    return length === 0 ? whole : this.#cut(whole, shared);
  }

  #cut(whole: Tensor, { numel, length }: Shared): Tensor {
    const { from, own } = sliceOf(numel, length, this.#group.rank);
    return whole.reshape(-1).narrow(0, from, own);
  }

  #sharedAs(key: string, mine: Tensor): Shared {
    const [, kind = '', name = ''] = /^([^.]+)\.(.*)$/.exec(key) ?? [];
    if (mine.shape.length === 0) return { shape: [], numel: 1, length: 0 };
    const { shape, numel } = this.#parameters.get(name)!;
    const length = sliceLength(numel, this.#group.size);
    if (!kind.endsWith('_absmax')) return { shape, numel, length };
    const blocks = Math.ceil(numel / optim.block8bit);
    return { shape: [blocks], numel: blocks, length: length / optim.block8bit };
  }

  #sharedMaster({ shape }: Master): Shared {
    const numel = shape.reduce((product, each) => product * each, 1);
    return { shape, numel, length: sliceLength(numel, this.#group.size) };
  }

  #gather(mine: Tensor, { shape, numel, length }: Shared): Tensor {
    if (length === 0) return mine.detach();
    return noGrad(() => {
      const { dtype, device } = mine;
      const part = zeros([length], { dtype, device });
      part.narrow(0, 0, mine.numel).copy_(mine);
      const whole = empty([this.#group.size * length], { dtype, device });
      this.#group.allGather(whole, part).wait();
      return whole.narrow(0, 0, numel).view(...shape);
    });
  }
}
