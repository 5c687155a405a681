/**
 * Image tokens of a frozen vision tower, and what goes with them, by image; least recently used ones are dropped when a
 * budget of bytes is full.
 */
import { keep } from '@visurf/torch';

import type { Flow } from './stage.ts';

const bytesOf = (features: Flow): number =>
  features.reduce((sum, { numel, dtype }) => sum + numel * (dtype === 'float64' ? 8 : 4), 0);

export class FeatureCache {
  readonly #budget: number;
  readonly #entries = new Map<string, Flow>();
  #bytes = 0;
  /** How often features were asked for, and how often they had to be computed. */
  readonly uses = { asked: 0, computed: 0 };

  /** @param budget in bytes */
  constructor(budget: number) {
    this.#budget = budget;
  }

  /** @param key everything that the features depend on. @returns handles that belong to the caller */
  get(key: string, compute: () => Flow): Flow {
    this.uses.asked++;
    const found = this.#entries.get(key) ?? this.#add(compute);
    this.#entries.delete(key);
    this.#entries.set(key, found);
    const mine = found.map((each) => each.detach()) as unknown as Flow;
    for (const [oldest, features] of this.#entries) {
      if (this.#bytes <= this.#budget) break;
      this.#drop(oldest, features);
    }
    return mine;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** To be called when the weights of the tower are others than before. */
  clear(): void {
    for (const [key, features] of this.#entries) this.#drop(key, features);
  }

  #add(compute: () => Flow): Flow {
    this.uses.computed++;
    const features = compute();
    features.forEach(keep);
    this.#bytes += bytesOf(features);
    return features;
  }
  #drop(key: string, features: Flow): void {
    this.#entries.delete(key);
    this.#bytes -= bytesOf(features);
    for (const each of features) each.dispose();
  }
}
