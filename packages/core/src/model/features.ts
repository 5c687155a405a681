/**
 * Image tokens of a frozen vision tower, and what goes with them, by image; least recently used ones are dropped when a
 * budget of bytes is full.
 */
import { itemSize, keep, scope } from '@visurf/torch';

import type { Grid, Prompt } from '../types.ts';
import type { ModelConfig } from './config.ts';
import { visualGrids } from './pack.ts';
import type { Flow } from './stage.ts';

const bytesOf = (features: Flow): number =>
  features.reduce((sum, { numel, dtype }) => sum + numel * itemSize[dtype], 0);

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

  has(key: string): boolean {
    return this.#entries.has(key);
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

/** An image or a video of a prompt. */
export interface Picture {
  readonly grid: Grid;
  readonly pixels: Float32Array;
  /** What its features depend on; undefined where they are not remembered. */
  readonly key: string | undefined;
}

/** In the order in which they appear. */
export function picturesOf(prompt: Prompt, config: ModelConfig): Picture[] {
  const { images, pixelValues, videoGridThw } = prompt;
  const grids = visualGrids(prompt, config);
  const total = grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0);
  let at = 0;
  return grids.map((grid, i) => {
    const share = ((grid[0] * grid[1] * grid[2]) / total) * (pixelValues?.length ?? 0);
    const pixels = pixelValues?.subarray(at, (at += share)) ?? new Float32Array();
    const file = videoGridThw ? undefined : images?.[i];
    return { grid, pixels, key: file === undefined ? undefined : `${grid.join('x')} ${file}` };
  });
}

type Encode = (pixels: readonly Float32Array[], grids: readonly Grid[]) => Flow;

/**
 * Of every picture, remembered or computed. On the CPU one at a time: features do not depend, in their last bits, on what
 * else is computed or remembered. A card has too little to do then, and is given all that are missing at once.
 */
export function rememberedFeatures(
  pictures: readonly Picture[],
  cache: FeatureCache,
  config: ModelConfig,
  encode: Encode,
  together: boolean,
): Flow[] {
  const distinct = new Map(pictures.map((each) => [each.key ?? each, each]));
  const missing = [...distinct.values()].filter(({ key }) => together && (key === undefined || !cache.has(key)));
  const features = missing.length > 0 ? encodeTogether(missing, config, encode) : [];
  const computed = new Map(missing.map((each, i) => [each.key ?? each, features[i]!]));
  return pictures.map((each) => {
    // Handles of its own: the cache frees what it drops, and a picture that comes again is taken from here then.
    const known = computed.get(each.key ?? each)?.map((part) => part.detach()) as Flow | undefined;
    const compute = (): Flow => known ?? scope(() => encode([each.pixels], [each.grid]));
    return each.key === undefined ? compute() : cache.get(each.key, compute);
  });
}

function encodeTogether(pictures: readonly Picture[], { vision }: ModelConfig, encode: Encode): Flow[] {
  const sizes = pictures.map(({ grid: [t, h, w] }) => (t * h * w) / vision.spatialMergeSize ** 2);
  return scope(() => {
    const all = encode(
      pictures.map(({ pixels }) => pixels),
      pictures.map(({ grid }) => grid),
    ).map((each) => each.split(sizes, 0));
    // Copies: a view of all would keep all of them in memory.
    return pictures.map((_, i) => all.map((own) => own[i]!.clone()) as unknown as Flow);
  });
}
