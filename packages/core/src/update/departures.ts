/**
 * Gradients that leave for other processes while a backward pass goes on. All processes exchange the same buckets of
 * parameters in the same order, whatever their own passes touch: a bucket leaves when no stage of the pass is left that adds
 * to it, and all before it have left.
 */
import type { Tensor } from '@visurf/torch';

import { isVision } from '../model/keys.ts';
import type { GradientWatch } from '../model/stage.ts';

/** Elements that are worth a message of their own. */
const ENOUGH = 1 << 20;

/** In the order in which a backward pass completes their gradients: a head of its own is done before it begins. */
function inOrder(parameters: ReadonlyMap<string, Tensor>): [string, Tensor][] {
  const last = [...parameters].reverse();
  return [...last.filter(([key]) => !isVision(key)), ...last.filter(([key]) => isVision(key))];
}

/** What belongs together: a block of the tower or the decoder. */
const blockOf = (key: string): string => /^.*?\.\d+\./.exec(key)?.[0] ?? key.replace(/\.[^.]*$/, '');

/**
 * Parameters by name that leave together: of whole blocks, until they are enough.
 * @param kindOf what all of a bucket have to have in common
 */
export function bucketsOf(
  parameters: ReadonlyMap<string, Tensor>,
  kindOf: (parameter: Tensor) => string,
  enough = ENOUGH,
): [string, Tensor][][] {
  const buckets: [string, Tensor][][] = [];
  let [elements, kind, block] = [0, '', ''];
  for (const [name, parameter] of inOrder(parameters)) {
    const isFull = elements >= enough && blockOf(name) !== block;
    if (isFull || kindOf(parameter) !== kind) {
      buckets.push([]);
      elements = 0;
    }
    [kind, block] = [kindOf(parameter), blockOf(name)];
    buckets.at(-1)!.push([name, parameter]);
    elements += parameter.numel;
  }
  return buckets;
}

/** Knows when a bucket may leave. */
export class Departures implements GradientWatch {
  readonly #send: (bucket: number) => void;
  readonly #count: number;
  readonly #bucketOf: ReadonlyMap<Tensor, number>;
  /** By bucket: stages of the pass that are left and add to it. */
  #left: number[] = [];
  #stages: (readonly number[])[] = [];
  #next = 0;

  constructor(buckets: readonly (readonly (readonly [string, Tensor])[])[], send: (bucket: number) => void) {
    [this.#count, this.#send] = [buckets.length, send];
    this.#bucketOf = new Map(buckets.flatMap((bucket, i) => bucket.map(([, parameter]) => [parameter, i] as const)));
  }

  begin(stages: readonly (readonly Tensor[])[]): void {
    this.#stages = stages.map((parameters) => [
      ...new Set(parameters.flatMap((each) => this.#bucketOf.get(each) ?? [])),
    ]);
    this.#left = Array.from({ length: this.#count }, () => 0);
    for (const each of this.#stages.flat()) this.#left[each]!++;
    this.#next = 0;
    this.#sendComplete();
  }

  stageDone(): void {
    for (const each of this.#stages.shift() ?? []) this.#left[each]!--;
    this.#sendComplete();
  }

  /** @throws Error where some have not left */
  requireOver(): void {
    if (this.#next < this.#count) throw new Error('the backward pass has not come to its end');
  }

  #sendComplete(): void {
    while (this.#next < this.#count && this.#left[this.#next] === 0) this.#send(this.#next++);
  }
}
