/**
 * How much of a step is SFT: mu in [0, 1], with 1 - mu left for RL (CHORD, arXiv 2508.11408, equation 3). Two stages,
 * alternating steps and a gradual change are one number over time.
 */

export interface Range {
  readonly start: number;
  readonly end: number;
}

export interface MixConfig {
  /** Steps of SFT and then of RL, over and over. */
  readonly round: { readonly sft: number; readonly rl: number };
  readonly curve: 'linear' | 'cosine';
  /** mu, before and after its change. */
  readonly weight: Range;
  /** Share of the prompts that carry a label, before and after its change. */
  readonly labelRate: Range;
  /** Steps over which mu rises linearly from 0 to its start. */
  readonly warmupSteps: number;
  /** Steps that the change takes after that; unset: all that are left. */
  readonly decaySteps?: number | undefined;
  /** Share of the prompts of a batch that are for SFT. */
  readonly share: number;
}

/** mu of a step, from 1, in rounds that begin with SFT. */
export const roundWeight = ({ sft, rl }: MixConfig['round'], step: number): number =>
  (step - 1) % (sft + rl) < sft ? 1 : 0;

export interface Mixture {
  readonly weight: number;
  readonly labelRate: number;
}

/** Both numbers of a step, from 1, on their way: the first step after the warm-up has the start, the last one the end. */
export function gradualMix(config: MixConfig, steps: number, step: number): Mixture {
  const { warmupSteps, weight, labelRate } = config;
  const passed = step - 1 - warmupSteps;
  if (passed < 0) return { weight: (weight.start * (step - 1)) / warmupSteps, labelRate: labelRate.start };
  const decaySteps = config.decaySteps ?? Math.max(1, steps - 1 - warmupSteps);
  const progress = Math.min(1, passed / decaySteps);
  const left = config.curve === 'linear' ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2;
  const at = ({ start, end }: Range): number => end + (start - end) * left;
  return { weight: at(weight), labelRate: at(labelRate) };
}
