/**
 * One step of training on the card that computes nothing: `node bench/cuda/case.ts JSON`, in the environment of
 * prepare.ts. Prints what was asked of the card, phase by phase; `token` is one step of decoding with its sampling.
 */
import { createRequire } from 'node:module';

import type { LoadOptions } from '../../packages/core/src/model/load.ts';
import type { QwenVL } from '../../packages/core/src/model/qwen.ts';
import type { ObservePhase } from '../../packages/core/src/phases.ts';
import { wholeStep } from '../../packages/core/src/testing/whole-step.ts';
import { runtime } from './prepare.ts';

export interface Case {
  readonly model: string;
  /** Of the configuration. */
  readonly changes: Readonly<Record<string, unknown>>;
  readonly dtype?: LoadOptions['dtype'];
}

/** By name; `peak` and `live` in bytes of the card. */
export type Counts = Readonly<Record<string, number>>;
export type Phases = Readonly<Record<string, Counts>>;

const { counts } = createRequire(import.meta.url)(runtime) as { counts(): string };
const read = (): Counts => JSON.parse(counts()) as Counts;

/** What is counted from now on belongs to phases. */
function watch(model: QwenVL, phases: Record<string, Counts>): ObservePhase {
  const end = (phase: string): void => void (phases[phase] = add(phases[phase], read()));
  phases['loading'] = read();
  const prefill = model.prefill.bind(model);
  model.prefill = (prompts) => {
    const result = prefill(prompts);
    end('prefill');
    return result;
  };
  let decoding = false;
  const decode = model.decode.bind(model);
  model.decode = (...values) => {
    const counted = read();
    phases['decoding'] = add(phases['decoding'], counted);
    if (decoding) phases['token'] = counted;
    decoding = true;
    return decode(...values);
  };
  return (phase) => {
    decoding = false;
    end(phase === 'rollout' ? 'decoding' : phase);
  };
}

function add(a: Counts = {}, b: Counts): Counts {
  const sum: Record<string, number> = { ...a };
  for (const [name, amount] of Object.entries(b)) {
    const isLevel = name === 'peak' || name === 'live';
    sum[name] = isLevel ? Math.max(sum[name] ?? 0, amount) : (sum[name] ?? 0) + amount;
  }
  return sum;
}

const { model, changes, dtype } = JSON.parse(process.argv[2] ?? '') as Case;
const phases: Record<string, Counts> = {};
await wholeStep(model, 'cuda', changes, { dtype, observe: (each) => watch(each, phases) });
process.stdout.write(`${JSON.stringify(phases)}\n`);
