/**
 * Where a token's time goes on a GPU: what decoding does for every token of all rows, part by part, each recorded and
 * launched many times. `bench/card.ts` writes the workload.
 *
 *     node bench/token.ts --workload bench/out/card/3b.json --lora 16 --output token.json
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { loadModel } from '../packages/core/src/families/load.ts';
import { DecoderLayer } from '../packages/core/src/model/decoder.ts';
import { keyed } from '../packages/core/src/model/layer-state.ts';
import { projectJoined } from '../packages/core/src/model/projection.ts';
import { attendShared, sharedPlaceAt } from '../packages/core/src/model/shared-decoding.ts';
import { Policy } from '../packages/core/src/policy.ts';
import { PromptEncoder } from '../packages/core/src/prompt/encoder.ts';
import { ask } from '../packages/core/src/question/ask.ts';
import { makeScorer } from '../packages/core/src/reward/reward.ts';
import { chooseTokens, type Sampling } from '../packages/core/src/rollout/sampler.ts';
import { noGrad, record, scope, tensor, withDevice, zeros, type Tensor } from '../packages/torch/src/index.ts';
import { measuredSamples, measuringTask } from './task.ts';
import { readWorkload } from './workloads.ts';

const { values } = parseArgs({
  options: {
    workload: { type: 'string', default: 'bench/out/card/3b.json' },
    lora: { type: 'string', default: '16' },
    device: { type: 'string', default: 'cuda' },
    times: { type: 'string', default: '50' },
    output: { type: 'string' },
  },
});
const workload = readWorkload(values.workload);
const { device } = values;
const model = loadModel(workload.model, { device, dtype: 'auto' });
model.precision = 'bfloat16';
const policy = new Policy(workload.model, model, PromptEncoder.load(workload.model));
const rank = Number(values.lora);
if (rank > 0) policy.addAdapter({ rank, alpha: 2 * rank, dropout: 0, rsLora: false, vision: false }, 1);
const scorer = makeScorer(measuringTask(workload));
const prompts = (await Promise.all(measuredSamples(workload).map((sample) => ask({ policy, scorer }, sample)))).map(
  ({ prompt }) => prompt,
);

const responses = workload.group;
const rows = prompts.length * responses;
const { hiddenSize, heads, keyValueHeads, headSize, vocabularySize } = model.config.text;
const found: Record<string, number> = {};

/** Milliseconds of `body` on the device. */
function measure(name: string, body: () => void): void {
  const quiet = (): void => withDevice(device, () => noGrad(body));
  const wait = (): number => scope(() => zeros([1], { device }).item());
  scope(quiet);
  using recording = record(device, quiet);
  for (let i = 0; i < 3; i++) recording.replay();
  wait();
  const start = performance.now();
  for (let i = 0; i < Number(values.times); i++) recording.replay();
  wait();
  found[name] = (performance.now() - start) / Number(values.times);
  console.log(`${name}: ${found[name].toFixed(3)} ms`);
  if (values.output) writeFileSync(values.output, JSON.stringify({ rows, rank, milliseconds: found }, undefined, 1));
}

scope(() =>
  withDevice(device, () =>
    noGrad(() => {
      using _decoding = model.startDecoding(rows);
      const prefill = model.prefill(prompts);
      const capacity = workload.maxNewTokens;
      const own = model.fork(prefill, responses, capacity);
      const plan = model.planDecoding(prefill, own);
      if (!plan) throw new Error('attention of single tokens is measured where it is flash attention');
      const tokens = tensor(Array<number>(rows).fill(17), { dtype: 'int64' });
      const index = tensor([capacity / 2], { dtype: 'int64' });
      const rotation = model.rotationOf(prefill.nextPositions, [prompts.length, 1]);
      const noise = tensor(
        Array.from({ length: rows }, (_, i) => (i + 0.5) / rows),
        { dtype: 'float64' },
      );
      const forbidden = zeros([vocabularySize], { dtype: model.dtype });
      const sampling: Sampling = { temperature: 1, topP: 1, topK: 0, repetitionPenalty: 1 };
      const hidden = (): Tensor => model.decodeOnDevice(tokens, rotation, responses, prefill, own, index, plan);
      const state = hidden();
      const logits = model.logits(state);
      measure('a token', () => chooseTokens(model.logits(hidden()), sampling, noise, forbidden));
      measure('all layers', () => void hidden());
      measure('the head', () => void model.logits(state));
      measure('the choice', () => void chooseTokens(logits, sampling, noise, forbidden));
      measure('a cumulative sum over the vocabulary', () => void logits.to('float64').cumsum(1));

      const layers = model.model.layers.filter((layer) => layer instanceof DecoderLayer);
      const place = sharedPlaceAt(index, plan);
      const x = zeros([prompts.length, responses, hiddenSize], { dtype: model.dtype });
      const qkv = zeros([prompts.length, responses, heads + 2 * keyValueHeads, headSize], { dtype: 'bfloat16' });
      const out = zeros([prompts.length, responses, heads * headSize], { dtype: 'bfloat16' });
      const inEach = (name: string, body: (layer: DecoderLayer, i: number) => unknown): void =>
        measure(`${name} of all layers`, () => layers.forEach((layer, i) => scope(() => void body(layer, i))));
      inEach('attention', (_, i) =>
        attendShared(qkv, keyValueHeads, rotation, keyed(prefill.caches[i]!), keyed(own[i]!), place),
      );
      inEach('q, k and v', ({ self_attn: { q_proj, k_proj, v_proj } }) => projectJoined([q_proj, k_proj, v_proj], x));
      inEach('the product after attention', ({ self_attn }) => self_attn.o_proj.forward(out));
      inEach('the MLP', ({ mlp }) => mlp.forward(x));
      inEach('one norm', ({ input_layernorm }) => input_layernorm.forward(x));
      inEach('one sum', () => x.add(out.narrow(2, 0, hiddenSize)));
    }),
  ),
);
model.dispose();
