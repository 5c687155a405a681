/** Learning rates that fit what is trained. */
import type { Config } from '../config/schema.ts';
import { definitionOf } from '../schedule/registry.ts';

/** Of all weights by reward: 1e-6 of billions, more of fewer. */
export const fullRate = (parameters: number): number => (parameters >= 3e8 ? 1e-6 : parameters >= 3e7 ? 1e-5 : 1.5e-4);

/** How far below that adapters are, which take ten times as much; and how far above all weights are. */
const [LOW, HIGH, HIGH_SUPERVISED] = [3, 30, 100];

/** What is said of a rate that is that of the other kind of training; undefined where it is not. */
export function rateWarning(
  { train, optimizer, paradigm }: Pick<Config, 'train' | 'optimizer' | 'paradigm'>,
  parameters: number,
): string | undefined {
  const { learningRate } = optimizer;
  const full = fullRate(parameters);
  if (train.lora) {
    if (learningRate >= LOW * full) return undefined;
    const wanted = Number((10 * full).toPrecision(2)).toExponential();
    return (
      `optimizer.learningRate is ${learningRate}, a rate for training all weights: adapters (train.lora) hardly move ` +
      `with it. Try ${wanted}`
    );
  }
  const most = definitionOf({ paradigm }).label === 'target' ? HIGH_SUPERVISED : HIGH;
  if (learningRate <= most * full) return undefined;
  return (
    `optimizer.learningRate is ${learningRate}, a rate for adapters: all ${(parameters / 1e6).toFixed(0)} million weights ` +
    `fall apart with it, as a rule. Try ${full.toExponential()}, or train adapters (train.lora)`
  );
}
