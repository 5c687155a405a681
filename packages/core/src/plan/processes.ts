/**
 * A step by several processes that share the processors of one machine (`train --processes`): each has its share of the
 * prompts, and of the processors. What they exchange takes processors, too, so nothing hides it.
 */
import { float } from './activations.ts';
import type { Rates, TimePlan } from './time.ts';
import type { Subject } from './workload.ts';

/** What the processes of a machine reach together. */
export interface Together {
  /** Of each, while all of them compute. */
  readonly rates: Rates;
  /** Seconds for a byte of gradients that is added up, as training does it: with all copies. */
  readonly gradients: number;
  /** Seconds for a byte of weights that comes back from who has moved it. */
  readonly weights: number;
  /** Seconds of an exchange of next to nothing. */
  readonly hop: number;
}

/** Exchanges of a step that are small: what all agree on, and tell each other of groups. */
const agreed = 24;

/** @param subject what one process has of the step (`shareOf`) */
export function withExchange(time: TimePlan, subject: Subject, { gradients, weights, hop }: Together): TimePlan {
  const { sizes, workload, config, shards = 1 } = subject;
  const bytes = sizes.trainable * (config.precision === 'float64' ? 2 : 1) * float;
  // Shared gradients leave after every micro-batch, those of adapters after the last.
  const passes = shards > 1 ? Math.ceil(workload.prompts / workload.microBatch) : 1;
  const back = sizes.masters > 0 ? weights / 2 : weights;
  const moved = bytes * (passes * gradients + (shards > 1 ? back : 0));
  const communication = config.objective.updatesPerBatch * moved + agreed * hop;
  return { ...time, communication, step: time.step + communication };
}
