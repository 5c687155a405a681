/** An optimiser whose state is shared out over processes as gradients are (zero.ts); in files it is whole. */
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
import { makeOptimizer } from './optimizer.ts';
import { sliceLength, sliceOf } from './slices.ts';
import { GradientShares } from './zero.ts';

/** The first process asks for tensors of the state by place; by this one for none any more. */
const DISMISSED = -1;

/** How a tensor of the state is shared out. */
interface Shared {
  readonly shape: readonly number[];
  readonly numel: number;
  /** Elements of a process's slice; 0: it is the same in all. */
  readonly length: number;
}

export class ShardedOptimizer implements optim.Optimizer {
  readonly shares: GradientShares;
  readonly #parameters: ReadonlyMap<string, Tensor>;
  readonly #group: distributed.ProcessGroup;
  readonly #inner: optim.Optimizer;

  constructor(
    parameters: ReadonlyMap<string, Tensor>,
    group: distributed.ProcessGroup,
    config: Config['optimizer'],
    enough?: number,
  ) {
    [this.#parameters, this.#group] = [parameters, group];
    this.shares = new GradientShares(parameters, group, enough);
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

  /** In the first process: writes the whole state, which the others help with by `serve`. */
  save(file: string): void {
    const whole = [...this.state()].map(([key, mine], i): [string, LazyTensor] => {
      const shared = this.#sharedAs(key, mine);
      const make = (): Tensor => {
        this.#announce(i).pending.wait();
        return this.#gather(mine, shared);
      };
      return [key, { dtype: mine.dtype, shape: shared.shape, make }];
    });
    saveSafetensors(file, new Map(whole));
  }

  /** In the others: gives what the first one asks for, until that dismisses them. */
  async serve(): Promise<void> {
    const state = [...this.state()];
    for (;;) {
      const { asked, pending } = this.#announce(DISMISSED);
      await pending.done;
      const place = asked.item();
      asked.dispose();
      if (place === DISMISSED) return;
      const [key, mine] = state[place]!;
      scope(() => void this.#gather(mine, this.#sharedAs(key, mine)));
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
    const { shape, numel, length } = this.#sharedAs(key, this.state().get(key)!);
    if (whole.shape.join() !== shape.join()) {
      throw new Error(`${key} of the optimiser has shape [${shape.join(', ')}], not [${whole.shape.join(', ')}]`);
    }
    if (length === 0) return whole;
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
