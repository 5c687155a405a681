/**
 * What dropout of adapters drops. It is counted, as sampling noise is: a function of the seed, the step, the update, the
 * group, its sequence (the prompt, the n-th response, the n-th picture in the tower), the place in that, the adapter and
 * the channel. So neither how a batch is cut and packed nor the number of processes changes it, and what is computed again
 * drops the same.
 */
import { arange, keep, tensor, type Tensor } from '@visurf/torch';

import { invariant } from '../errors.ts';
import { philox } from '../philox.ts';
import type { Grid } from '../types.ts';
import type { Packed } from './pack.ts';

export interface DropoutKey {
  /** Below 2^53. */
  readonly seed: number;
  readonly step: number;
  /** Of those that a step makes. */
  readonly update: number;
}

/** A group as a row of a micro-batch. */
export interface DrawnGroup {
  /** Among the groups of the step, of all processes. */
  readonly place: number;
  /** Which of the group's responses are there. */
  readonly responses: readonly number[];
}

/** What one adapter draws with. */
export interface AdapterDraws {
  /** int64 [...]: keys of the rows of its input [..., in]. */
  readonly keys: (x: Tensor) => Tensor;
  /** An odd integer below 2^53 of its own. */
  readonly gamma: number;
  /** What the chain of a device counts with; undefined on the CPU. */
  readonly steps: (x: Tensor) => Tensor | undefined;
}

/** The draws of one pass over a micro-batch, forward and backward. */
export class Draws {
  readonly #key: readonly [number, number];
  readonly #groups: readonly DrawnGroup[];
  #packed: Packed | undefined;
  #grids: readonly (readonly Grid[])[] = [];
  readonly #made = new Map<string, Tensor>();

  constructor({ seed, step, update }: DropoutKey, groups: readonly DrawnGroup[]) {
    // The highest bits are set for no sampling noise.
    const [low, high] = [seed >>> 0, (Math.floor(seed / 0x100000000) | 0xd2000000) >>> 0];
    const [first, second] = philox([step, update, 0, 0], [low, high]);
    this.#key = [first, second];
    this.#groups = groups;
  }

  /** To be told of every pass before its first layer. @param grids of each prompt's pictures, as they follow each other */
  lay(packed: Packed, grids: readonly (readonly Grid[])[]): void {
    invariant(packed.batch === this.#groups.length, 'each row is a group');
    [this.#packed, this.#grids] = [packed, grids];
  }

  /** @param adapter its place among those of the model @param isVision whether its rows are patches */
  of(adapter: number, isVision: boolean): AdapterDraws {
    const [low, high] = philox([adapter, 0, 0, 2], this.#key);
    return {
      keys: (x) => (isVision ? this.#ofPatches(x) : this.#ofTokens(x)),
      gamma: (high >>> 11) * 0x100000000 + ((low | 1) >>> 0),
      steps: (x) => (x.device === 'cpu' ? undefined : this.#steps(x)),
    };
  }

  dispose(): void {
    for (const each of this.#made.values()) each.dispose();
    this.#made.clear();
  }

  /** Of the last places of packed rows: x [B, at most S, in] to [B, at most S]. */
  #ofTokens(x: Tensor): Tensor {
    const [batch, asked] = [x.size(0), x.size(1)];
    const keys = this.#once('tokens', () => this.#tokenKeys(x));
    invariant(x.shape.length === 3 && batch === keys.size(0) && asked <= keys.size(1), 'rows are places of sequences');
    return asked === keys.size(1) ? keys : keys.narrow(1, keys.size(1) - asked, asked);
  }

  #tokenKeys({ device }: Tensor): Tensor {
    const { batch, ids, runs } = this.#laid;
    const words = new Uint32Array(2 * ids.length);
    for (const { row, response, start, length } of runs) {
      const { place, responses } = this.#groups[row]!;
      const sequence = response === undefined ? 0 : 1 + responses[response]!;
      for (let t = 0; t < length; t++) this.#write(words, start + t, [place, sequence, t, 0]);
    }
    return tensor(new BigInt64Array(words.buffer), { shape: [batch, ids.length / batch], device });
  }

  /**
   * Of the tower: x [N, in] to [N]. Rows of a picture stand together in every tower, in an order that is its own, and are
   * as many as it has patches, or in the same proportion (with class tokens, merged).
   */
  #ofPatches(x: Tensor): Tensor {
    const rows = x.size(0);
    return this.#once(`patches ${rows}`, () => {
      const sizeOf = ([t, h, w]: Grid): number => t * h * w;
      const total = this.#grids.flat().reduce((sum, grid) => sum + sizeOf(grid), 0);
      const words = new Uint32Array(2 * rows);
      let at = 0;
      this.#grids.forEach((grids, row) =>
        grids.forEach((grid, picture) => {
          const own = (rows * sizeOf(grid)) / total;
          for (let i = 0; i < own; i++) this.#write(words, at++, [this.#groups[row]!.place, picture, i, 1]);
        }),
      );
      invariant(at === rows, 'rows of the tower are those of pictures');
      return tensor(new BigInt64Array(words.buffer), { device: x.device });
    });
  }

  #steps(x: Tensor): Tensor {
    const count = Math.ceil(x.size(-1) / 4);
    return this.#once(`steps ${count}`, () => arange(1, count + 1, 1, { device: x.device }));
  }

  #write(words: Uint32Array, at: number, counter: Parameters<typeof philox>[0]): void {
    [words[2 * at], words[2 * at + 1]] = philox(counter, this.#key);
  }

  get #laid(): Packed {
    invariant(this.#packed, 'a pass with dropout has said where its sequences lie');
    return this.#packed;
  }

  /** Stages free what they make, and those after them need it, too. */
  #once(name: string, make: () => Tensor): Tensor {
    const made = this.#made.get(name) ?? keep(make());
    this.#made.set(name, made);
    return made;
  }
}
