/**
 * Rotary frequencies for prompts longer than a model was trained on: `linear` divides all of them by a factor; `yarn`
 * (arXiv 2309.00071) only the slow ones, with a ramp between, and scales the rotated vectors; `llama3` (Llama 3.1) those
 * of long waves, with a ramp over the lengths. Numbers are float32 where the reference's are.
 */
import { z } from 'zod';

import { UserError } from '../errors.ts';

/** What both kinds may say, by the names of `config.json`. */
export const scalingFields = {
  factor: z.number().positive().nullish(),
  original_max_position_embeddings: z.number().positive().nullish(),
  attention_factor: z.number().positive().nullish(),
  beta_fast: z.number().positive().nullish(),
  beta_slow: z.number().positive().nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  truncate: z.boolean().default(true),
  low_freq_factor: z.number().positive().nullish(),
  high_freq_factor: z.number().positive().nullish(),
};
export type ScalingFields = z.output<z.ZodObject<typeof scalingFields>>;

export interface RopeScaling {
  /** Divides frequencies by this. */
  readonly factor: number;
  /** Multiplies cosine and sine; 1 for `linear`. */
  readonly attentionFactor: number;
  /** Indices of frequencies: before the first nothing is divided, behind the second everything; `yarn` alone has them. */
  readonly ramp?: readonly [number, number];
  /** How often waves turn over the trained length: those of fewer turns are divided, those of more are not; `llama3`. */
  readonly turns?: { readonly length: number; readonly fewest: number; readonly most: number };
}

export const linearScaling = (factor: number): RopeScaling => ({ factor, attentionFactor: 1 });

/** @throws UserError where the file lacks a number */
export function llama3Scaling(file: ScalingFields): RopeScaling {
  const { factor, low_freq_factor: fewest, high_freq_factor: most, original_max_position_embeddings: length } = file;
  if (factor && fewest && most && length && most > fewest)
    return { factor, attentionFactor: 1, turns: { length, fewest, most } };
  throw new UserError(
    'rotary embeddings of type llama3 need factor, low_freq_factor, a larger high_freq_factor and original_max_position_embeddings',
  );
}

/** 0.1 m ln(s) + 1 */
const magnitude = (scale: number, m = 1): number => (scale <= 1 ? 1 : 0.1 * m * Math.log(scale) + 1);

/** @param length tokens that the model was trained on, unless the file says another number */
export function yarnScaling(
  file: ScalingFields,
  { headSize, theta, length }: { readonly headSize: number; readonly theta: number; readonly length: number },
): RopeScaling {
  const trained = file.original_max_position_embeddings ?? length;
  const factor = file.factor ?? length / trained;
  // The frequency that turns this often over the trained length.
  const turning = (turns: number): number =>
    (headSize * Math.log(trained / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [fast, slow] = [turning(file.beta_fast ?? 32), turning(file.beta_slow ?? 1)];
  const [first, last] = file.truncate ? [Math.floor(fast), Math.ceil(slow)] : [fast, slow];
  const { mscale, mscale_all_dim: all } = file;
  const attentionFactor =
    file.attention_factor ?? (mscale && all ? magnitude(factor, mscale) / magnitude(factor, all) : magnitude(factor));
  return { factor, attentionFactor, ramp: [Math.max(first, 0), Math.min(last, headSize - 1)] };
}

/** The frequencies theta^(-2 i / size), scaled. */
export function scaleFrequencies(frequencies: Float32Array, { factor, ramp, turns }: RopeScaling): Float32Array {
  const { fround } = Math;
  if (turns) {
    const { length, fewest, most } = turns;
    return frequencies.map((each) => {
      const wave = fround(fround(2 * Math.PI) / each);
      if (wave > length / fewest) return each / factor;
      if (wave < length / most) return each;
      const kept = fround(fround(fround(length / wave) - fewest) / fround(most - fewest));
      return fround(fround(fround(1 - kept) * each) / factor) + fround(kept * each);
    });
  }
  if (!ramp) return frequencies.map((each) => each / factor);
  const [first, last] = ramp;
  const width = first === last ? 0.001 : last - first;
  return frequencies.map((each, i) => {
    const divided = Math.min(Math.max(fround(fround(i - first) / width), 0), 1);
    const kept = fround(1 - divided);
    return fround(fround(each / factor) * fround(1 - kept)) + fround(each * kept);
  });
}
