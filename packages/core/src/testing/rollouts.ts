/** Whether decoding token by token and a forward pass over whole responses are the same model, on any device. */
import path from 'node:path';

import type { Device } from '@visurf/torch';

import type { Precision, Stream } from '../model/projection.ts';
import { loadLocalPolicy, type PolicyOptions } from '../policy.ts';
import { logProbs } from '../update/log-probs.ts';
import { fixtures } from './oracle.ts';

export interface RolloutDistance {
  /** Mean distance of log-probabilities that tokens were sampled with from those that scoring gives them. */
  readonly distance: number;
  /** That of scoring on the CPU in this precision and stream from scoring in float64. Both ways round so: twice that is to be expected. */
  readonly rounding: number;
  readonly tokens: number;
}

/** Two prompts of different lengths, with 64 responses each of up to 40 tokens. */
export async function rolloutDistance(
  model: string,
  device: Device,
  precision: Precision,
  stream?: Stream,
): Promise<RolloutDistance> {
  using policy = loadLocalPolicy(model, { device, precision, stream });
  const prompts = await Promise.all(
    ['small-40x40.png', 'flat-90x60.png'].map((name, i) =>
      policy.encoder.encode({ problem: 'the red one '.repeat(i + 1), images: [path.join(fixtures, 'images', name)] }),
    ),
  );
  const sampling = { temperature: 1, topP: 1, topK: 0, repetitionPenalty: 1, maxNewTokens: 40, group: 64 };
  const groups = await policy.sample(prompts, { ...sampling, seed: 0, step: 0, promptIds: [0, 1] });
  const items = groups.map((responses, i) => ({
    prompt: prompts[i]!,
    responses: responses.map(({ tokens }) => tokens),
  }));
  const scoredOnCpu = (options: PolicyOptions): ArrayLike<number> => {
    using other = loadLocalPolicy(model, options);
    return logProbs(other.model, items);
  };
  const sampled = groups.flat().flatMap((response) => response.logProbs);
  const distance = meanDistance(sampled, logProbs(policy.model, items));
  const rounding = meanDistance(scoredOnCpu({ precision, stream }), scoredOnCpu({ precision: 'float64' }));
  return { distance, rounding, tokens: sampled.length };
}

function meanDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} log-probabilities beside ${b.length}`);
  return Array.from(a).reduce((sum, each, i) => sum + Math.abs(each - b[i]!), 0) / a.length;
}
