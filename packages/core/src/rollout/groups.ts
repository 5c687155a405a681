/** Rollouts of a batch in which some prompts ask for none. */
import type { Prompt, Rollout } from '../types.ts';
import type { SamplingOptions } from './respond.ts';

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
