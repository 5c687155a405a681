/**
 * One step of training on the card that computes nothing: `node bench/cuda/step.ts JSON`, in the environment of
 * prepare.ts. Writes what was asked of the card into the file COUNTS, phase by phase; `token` is one step of decoding
 * with its sampling.
 */
import { writeFileSync } from 'node:fs';

import type { QwenVL } from '../../packages/core/src/model/qwen.ts';
import type { ObservePhase } from '../../packages/core/src/phases.ts';
import { wholeStep } from '../../packages/core/src/testing/whole-step.ts';
import type { Step } from './cases.ts';
import { add, read, type Counts } from './counts.ts';

/** What is counted from now on belongs to phases. */
function watch(model: QwenVL, phases: Record<string, Counts>): ObservePhase {
  const end = (phase: string): void => void (phases[phase] = add(phases[phase], read()));
  end('loading');
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

const { model, changes, dtype } = JSON.parse(process.argv[2] ?? '') as Step;
const phases: Record<string, Counts> = {};
await wholeStep(model, 'cuda', changes, { dtype, observe: (each) => watch(each, phases), parameters: false });
writeFileSync(process.env['COUNTS'] ?? '', JSON.stringify(phases));
