/**
 * Gradients that every process has whole (adapters): of several micro-batches each adds up its own, and while the last
 * backward pass goes on, those of blocks that are done are added up over all (all-reduce).
 */
import { cat, keep, noGrad, scope, zeros, type distributed, type Tensor } from '@visurf/torch';

import type { GradientWatch } from '../model/stage.ts';
import { bucketsOf, Departures } from './departures.ts';

interface Message {
  readonly pending: distributed.Pending;
  readonly members: readonly Tensor[];
  /** Their gradients, one behind the other. */
  readonly flat: Tensor;
}

export class GradientSums implements GradientWatch {
  readonly #group: distributed.ProcessGroup;
  readonly #buckets: readonly (readonly Tensor[])[];
  readonly #departures: Departures;
  #messages: Message[] = [];
  /** By parameter, in the order of buckets: whether it had a gradient here. */
  #touched: boolean[] = [];

  constructor(parameters: ReadonlyMap<string, Tensor>, group: distributed.ProcessGroup, enough?: number) {
    const buckets = bucketsOf(parameters, ({ dtype, device }) => `${dtype} ${device}`, enough);
    this.#group = group;
    this.#buckets = buckets.map((each) => each.map(([, parameter]) => parameter));
    this.#departures = new Departures(buckets, (i) => {
      this.#send(this.#buckets[i]!);
    });
  }

  begin(stages: readonly (readonly Tensor[])[]): void {
    this.#touched = [];
    this.#departures.begin(stages);
  }
  stageDone(): void {
    this.#departures.stageDone();
  }

  #send(members: readonly Tensor[]): void {
    const flat = scope(() =>
      noGrad(() => {
        const gradients = members.map(({ grad, shape, dtype, device }) => {
          this.#touched.push(grad !== undefined);
          return (grad ?? zeros(shape, { dtype, device })).reshape(-1);
        });
        return keep(cat(gradients));
      }),
    );
    this.#messages.push({ members, flat, pending: this.#group.allReduce(flat) });
  }

  /**
   * To be called by all after the last backward pass: by those that had none, after `begin([])`. Makes the `.grad` of every
   * parameter the sum over all; what has none anywhere has none after.
   */
  async collect(): Promise<void> {
    this.#departures.requireOver();
    for (const { pending } of this.#messages) await pending.done;
    const anywhere = await this.#group.agree(
      this.#touched.map((each) => (each ? 1 : 0)),
      'max',
    );
    let place = 0;
    for (let message = this.#messages.shift(); message; message = this.#messages.shift()) {
      const { members, flat } = message;
      scope(() =>
        noGrad(() => {
          let at = 0;
          for (const each of members) {
            const sum = flat.narrow(0, at, each.numel).view(...each.shape);
            at += each.numel;
            if (anywhere[place++] === 0) continue;
            if (each.grad) each.grad.copy_(sum);
            else each.grad = sum.clone();
          }
        }),
      );
      flat.dispose();
    }
  }
}
