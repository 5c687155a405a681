/**
 * One step of training on the card that computes nothing: `node bench/cuda/step.ts JSON`, in the environment of
 * prepare.ts. Writes what was asked of the card into the file COUNTS, phase by phase; `token` is one step of decoding
 * with its sampling.
 */
import { writeFileSync } from 'node:fs';

import type { VisionLanguageModel } from '../../packages/core/src/model/vlm.ts';
import type { ObservePhase } from '../../packages/core/src/run/phases.ts';
import { native } from '../../packages/torch/src/native.ts';
import { firstOf } from '../../packages/core/src/testing/one-of-many.ts';
import { wholeStep } from '../../packages/core/src/testing/whole-step.ts';
import type { Step } from './cases.ts';
import { add, read, type Counts } from './counts.ts';

/** What is counted from now on belongs to phases. */
function watch(model: VisionLanguageModel, phases: Record<string, Counts>): ObservePhase {
  const end = (phase: string): void => void (phases[phase] = add(phases[phase], read()));
  end('loading');
  const prefill = model.prefill.bind(model);
  model.prefill = (prompts) => {
    const result = prefill(prompts);
    end('prefill');
    return result;
  };
  // A token is what lies between the beginnings of two steps of decoding, recorded or not.
  let decoding = false;
  const begins =
    <Values extends readonly unknown[], Result>(step: (...values: Values) => Result) =>
    (...values: Values): Result => {
      const counted = read();
      phases['decoding'] = add(phases['decoding'], counted);
      if (decoding) phases['token'] = counted;
      decoding = true;
      return step(...values);
    };
  model.decode = begins(model.decode.bind(model));
  native.replay = begins(native.replay.bind(native));
  return (phase) => {
    decoding = false;
    end(phase === 'rollout' ? 'decoding' : phase);
  };
}

const { model, changes, dtype, among = 1 } = JSON.parse(process.argv[2] ?? '') as Step;
const phases: Record<string, Counts> = {};
await wholeStep(model, 'cuda', changes, {
  ...{ dtype, observe: (each) => watch(each, phases), parameters: false },
  ...(among > 1 && { processes: firstOf(among) }),
});
writeFileSync(process.env['COUNTS'] ?? '', JSON.stringify(phases));
