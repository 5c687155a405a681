/** Bytes of the tiny model (D 64, A 64, C 32, I 112, V 352, 3 layers; vision D 32, I 72, 3 blocks), worked out by hand. */
import { expect, test } from 'vitest';

import { unpackedWeights } from './generation.ts';
import { planMemory } from './memory.ts';
import type { Part } from './parts.ts';
import { subjectOf, type Changes } from '../testing/plan.ts';

const program = 100;
const allocator = 64 << 20;
const parameters = 243_824;

const planned = (changes?: Changes) => {
  const plan = planMemory(subjectOf(changes), program);
  const parts = new Map(plan.parts.map(({ part, bytes }) => [part, bytes]));
  return { ...plan, of: (part: Part): number => parts.get(part) ?? 0 };
};

test('an update: every part, and their sum', () => {
  const { peak, phase, parts, phases } = planned();
  expect(phase).toBe('update');
  const onTokens = 35 * (4 * (2 * 64 + 64) + 4 * (2 * 64 + 64 + 3 * 112));
  const attended = 35 * 4 * (2 * 32 + 4);
  const chunk = 15 * 352 * 4;
  const expected: Partial<Record<Part, number>> = {
    program: program + allocator,
    weights: 4 * parameters,
    optimiser: 8 * parameters,
    gradients: 4 * parameters,
    'activations of the decoder': 3 * (onTokens + attended),
    'activations of the vision tower': 3 * 16 * (4 * 6 * 32 + 4 * (4 * 32 + 3 * 72)) + 2 * 16 * 1176 * 4,
    logits: 2 * chunk + 3 * 15 * 64 * 4,
    pixels: 2 * 16 * 1176 * 4,
    'working memory': 35 * (3 * 112 + 2 * 64) * 4,
    'remembered images': 4 * 16 * 14 * 14 * 3,
  };
  expect(Object.fromEntries(parts.map(({ part, bytes }) => [part, bytes]))).toEqual(expected);
  expect(peak).toBe(Object.values(expected).reduce((a, b) => a + b));
  expect(phases.update).toBe(peak);
  expect(parts.map(({ bytes }) => bytes)).toEqual(parts.map(({ bytes }) => bytes).sort((a, b) => b - a));
});

test('phases that a run does not have are not planned', () => {
  expect(Object.keys(planned().phases).sort()).toEqual(['generation', 'loading', 'update']);
  expect(Object.keys(planned({ workload: { group: 0, evaluated: 3 } }).phases).sort()).toEqual([
    'evaluation',
    'loading',
    'update',
  ]);
});

test('loading: the weights, and the pages of the file', () => {
  expect(planned().phases.loading).toBe(program + allocator + 8 * parameters);
  expect(planned({ item: 2 }).phases.loading).toBe(program + allocator + 6 * parameters);
});

test('generation and evaluation: keys and values of prompts and answers, logits of one token', () => {
  const rollouts = planned({ workload: { prompts: 100, group: 600, responses: 601 } });
  expect(rollouts.phase).toBe('generation');
  expect(rollouts.of('keys and values')).toBe(3 * 2 * 32 * 4 * (100 * 20 + 60_000 * 16));
  // One float32; cut distributions need eight times as much.
  expect(rollouts.of('logits')).toBe(60_000 * 352 * 4);
  const cut = planned({
    config: { rollout: { topK: 5, allowTruncatedSampling: true } },
    workload: { prompts: 100, group: 600 },
  });
  expect(cut.of('logits')).toBe(60_000 * 352 * (4 * 4 + 2 * 8));
  expect(rollouts.of('weights packed for decoding')).toBe(4 * (parameters - subjectOf().sizes.vision - 352 * 64));
  const answers = planned({ workload: { evaluated: 1000, evaluationTokens: 2000 } });
  expect(answers.phase).toBe('evaluation');
  // 50 prompts at a time, whatever the size of the dataset.
  expect(answers.of('keys and values')).toBe(3 * 2 * 32 * 4 * 50 * (20 + 2000));
});

test('rollouts of servers take no memory here', () => {
  const backend = { config: { rollout: { backend: 'vllm', servers: ['http://127.0.0.1:1'] } } } as const;
  const served = planned({ workload: { prompts: 100, group: 600, responses: 601 }, ...backend });
  expect(served.phase).not.toBe('generation');
});

test('one micro-batch alone: its gradients come as activations go, that of the head before', () => {
  const gradients = 4 * parameters;
  const { of } = planned({ workload: { prompts: 1 } });
  const activations = of('activations of the decoder') + of('activations of the vision tower') - 2 * 16 * 1176 * 4;
  expect(of('gradients')).toBe(gradients - activations + 4 * 352 * 64);
});

test('activations that are computed again: the stream before every block, and one block', () => {
  const kept = planned().of('activations of the decoder') / 3;
  const again = planned({ config: { train: { checkpointActivations: true } } });
  expect(again.of('activations of the decoder')).toBe(3 * 35 * 64 * 4 + kept);
  expect(again.of('activations of the vision tower')).toBe(3 * 16 * 32 * 4 + 2 * 16 * 1176 * 4);
});

test('a frozen tower has no gradients and no activations, and its image tokens are remembered', () => {
  const { of } = planned({ config: { train: { freezeVision: true } } });
  const vision = subjectOf().sizes.vision;
  expect(of('gradients')).toBe(4 * (parameters - vision));
  expect(of('activations of the vision tower')).toBe(0);
  expect(of('remembered image tokens')).toBe((4 * 16 * 64 * 4) / 4);
  for (const [precision, item] of [
    ['bfloat16', 2],
    ['float64', 8],
  ] as const) {
    const other = planned({ config: { precision, train: { freezeVision: true } } });
    expect(other.of('remembered image tokens')).toBe((4 * 16 * 64 * item) / 4);
  }
});

test('bfloat16 halves what products read, and copies weights; a KL penalty needs a second model', () => {
  const { sizes } = subjectOf();
  const { of } = planned({ config: { precision: 'bfloat16', objective: { kl: { coefficient: 0.1 } } } });
  expect(of('reference model')).toBe(4 * parameters - 2 * sizes.projections);
  expect(of('bfloat16 copies of weights')).toBe(2 * sizes.projections);
  const onTokens = 35 * (4 * (2 * 64 + 64) + 2 * (5 * 64 + 64 + 3 * 112));
  const attended = 35 * 4 * (2 * 32 + 4 + 64);
  expect(of('activations of the decoder')).toBe(3 * (onTokens + attended));
});

test('where our kernels are not, scores are kept, the activated gate, and keys and values repeated for every head', () => {
  const onTokens = 35 * (4 * (2 * 64 + 64) + 4 * (2 * 64 + 64 + 4 * 112));
  const others = 20 * 4 * (64 + 2 * 32 + 2 * 64) + 15 * 4 * (64 + 2 * 32) + 15 * 4 * 25 * 4;
  expect(planned({ config: { device: 'cuda' } }).of('activations of the decoder')).toBe(3 * (onTokens + others));
});

test('on a card in bfloat16 there are no scores: keys and values of every sequence, and queries, in bfloat16', () => {
  const onTokens = 35 * (4 * 2 * 64 + 2 * (5 * 64 + 64 + 4 * 112));
  // One sequence of the prompt, three of the prompt and a response.
  const attended = 35 * (2 * 64 + 4 * 4) + (20 + 3 * 25) * 2 * 2 * 32;
  const { of } = planned({ config: { device: 'cuda', precision: 'bfloat16' } });
  expect(of('activations of the decoder')).toBe(3 * (onTokens + attended));
});

test('a stream in bfloat16 takes half where it is kept, and products read it as it is', () => {
  const config = { device: 'cuda', precision: 'bfloat16', stream: 'bfloat16' };
  const onTokens = 35 * (2 * 2 * 64 + 2 * (2 * 64 + 64 + 4 * 112));
  const attended = 35 * (2 * 64 + 4 * 4) + (20 + 3 * 25) * 2 * 2 * 32;
  expect(planned({ config }).of('activations of the decoder')).toBe(3 * (onTokens + attended));
  const again = planned({ config: { ...config, train: { checkpointActivations: true } } });
  expect(again.of('activations of the decoder')).toBe(3 * 35 * 64 * 2);
  expect(again.of('activations of the vision tower')).toBe(3 * 16 * 32 * 2 + 2 * 16 * 1176 * 4);
});

test('a card holds nothing of the host: no files, pixels or images', () => {
  const host = planned();
  const card = planned({ config: { device: 'cuda' } });
  for (const part of ['pixels', 'remembered images'] as const) {
    expect(host.of(part)).toBeGreaterThan(0);
    expect(card.of(part)).toBe(0);
  }
});

test('LoRA: gradients and moments of the adapters alone, no second model, and a bfloat16 file stays so', () => {
  const lora = { train: { lora: { rank: 2 } }, objective: { kl: { coefficient: 0.1 } } };
  // Rank 2 on q, k, v, o (64 or 32 outputs) and gate, up, down of three layers.
  const adapters = 3 * 2 * (64 + 64 + 2 * (64 + 32) + 64 + 64 + 2 * (64 + 112) + 112 + 64);
  const workload = { promptTokens: 2000 };
  const { of } = planned({ config: lora, workload });
  expect(of('reference model')).toBe(0);
  expect(of('gradients')).toBe(4 * adapters);
  expect(of('optimiser')).toBe(8 * adapters);
  const half = planned({ config: { ...lora, precision: 'bfloat16' }, workload, item: 2 });
  expect(half.of('weights')).toBeLessThan(3 * parameters);
  expect(half.of('bfloat16 copies of weights')).toBe(2 * adapters);
});

test('of a long batch only a chunk of the logits is there at a time', () => {
  const chunk = Math.floor((1 << 24) / 352);
  const { of } = planned({ workload: { responses: 1000, responseTokens: 100 } });
  expect(of('logits')).toBe(2 * chunk * 352 * 4 + 3 * 100_000 * 64 * 4);
});

test('a card in bfloat16 decodes with flash attention: keys and values in bfloat16, no scores', () => {
  const workload = { prompts: 100, group: 600, responses: 601 };
  const cached = (precision: string): number =>
    planned({ config: { device: 'cuda', precision }, workload }).of('keys and values');
  expect(cached('float32')).toBe(3 * 2 * 32 * 4 * (100 * 20 + 60_000 * 16));
  expect(cached('bfloat16')).toBe(cached('float32') / 2);
});

test('weights in four bits are numbers while a card decodes, layer by layer as far as there is room', () => {
  const config = { device: 'cuda', train: { lora: { rank: 2, quantize: 'nf4' } } };
  const answers = { prompts: 2, group: 2, tokens: 5, greedy: false };
  // Queries, keys, values, output; gate, up, down.
  const layer = 4 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 112);
  // Of prompts of 20 tokens, and 4 answers with room for 16.
  const cached = 3 * 2 * 32 * 4 * (2 * 20 + 4 * 16);
  const held = 1000;
  const of = (room: number): number =>
    unpackedWeights({ ...subjectOf({ config }), card: 500e6 + held + 2 * cached + 2 * room }, answers, held);
  expect([layer - 1, layer, 2 * layer, 99 * layer].map((room) => of(room) / layer)).toEqual([0, 1, 2, 3]);
  expect(unpackedWeights(subjectOf({ config }), answers, held)).toBe(0);
});
