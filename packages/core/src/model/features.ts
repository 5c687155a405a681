/** Image tokens of a frozen vision tower by image, least recently used ones dropped when a budget of bytes is full. */
import { keep, type Tensor } from '@visurf/torch';

const bytesOf = (x: Tensor): number => x.numel * (x.dtype === 'float64' ? 8 : 4);

export class FeatureCache {
  readonly #budget: number;
  readonly #entries = new Map<string, Tensor>();
  #bytes = 0;
  /** How often features were asked for, and how often they had to be computed. */
  readonly uses = { asked: 0, computed: 0 };

  /** @param budget in bytes */
  constructor(budget: number) {
    this.#budget = budget;
  }

  /** @param key everything that the features depend on. @returns a handle that belongs to the caller */
  get(key: string, compute: () => Tensor): Tensor {
    this.uses.asked++;
    const found = this.#entries.get(key) ?? this.#add(compute);
    this.#entries.delete(key);
    this.#entries.set(key, found);
    const mine = found.detach();
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

  #add(compute: () => Tensor): Tensor {
    this.uses.computed++;
    const features = keep(compute());
    this.#bytes += bytesOf(features);
    return features;
  }
  #drop(key: string, features: Tensor): void {
    this.#entries.delete(key);
    this.#bytes -= bytesOf(features);
    features.dispose();
  }
}
