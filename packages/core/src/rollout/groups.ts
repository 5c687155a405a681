/** Rollouts of a batch in which some prompts ask for none. */
import type { Prompt, Rollout } from '../types.ts';
import type { SamplingOptions } from './respond.ts';

/** Between the numbers of a prompt that comes again: the golden section of 2^32, whose multiples keep away from each other. */
const APART = 0x9e3779b1;

/**
 * Numbers that key the noise of a step's prompts: their places in the dataset. A prompt that comes again in the step, since
 * an epoch ends in it, or there are fewer samples than prompts, has another number every time: its rollouts were the same
 * ones otherwise.
 */
export class NoiseIds {
  readonly #times = new Map<number, number>();

  /** @param places of the prompts that come next, of all processes */
  next(places: readonly number[]): number[] {
    return places.map((place) => {
      const times = this.#times.get(place) ?? 0;
      this.#times.set(place, times + 1);
      return (place + Math.imul(times, APART)) >>> 0;
    });
  }
}

/** Whoever samples: a policy, or servers. */
export interface RolloutSampler {
  sample(prompts: readonly Prompt[], options: SamplingOptions): Promise<Rollout[][]>;
}

/**
 * v, t -> o_1 .. o_G ~ pi_old, [B][G].
 * @param sizes of the groups: G, or 0 where nothing is sampled
 */
export async function sampleGroups(
  sampler: RolloutSampler,
  prompts: readonly Prompt[],
  sizes: readonly number[],
  options: Omit<SamplingOptions, 'group'> & { readonly promptIds: readonly number[] },
): Promise<Rollout[][]> {
  const asked = sizes.flatMap((size, i) => (size > 0 ? [i] : []));
  const result: Rollout[][] = prompts.map(() => []);
  if (asked.length === 0) return result;
  const sampled = await sampler.sample(
    asked.map((i) => prompts[i]!),
    { ...options, group: Math.max(...sizes), promptIds: asked.map((i) => options.promptIds[i]!) },
  );
  asked.forEach((i, j) => (result[i] = sampled[j]!));
  return result;
}
