/** The weights before pretraining, the same on every machine: each parameter has a generator keyed by its name. */
import type { VisionLanguageModel } from '@visurf/core/internals';
import { noGrad, scope, tensor, type Tensor } from '@visurf/torch';

import { Random } from '../random.ts';

const EMBEDDING_DEVIATION = 0.05;
/** Distances over which numbers resemble each other at first. */
const NUMBER_SCALES = [4, 12, 40];

/** Products that write to the residual stream start smaller. */
const isOutput = (name: string): boolean => /\b(o_proj|down_proj|attn\.proj)\.weight$/.test(name);

/**
 * Normal with deviation gain / sqrt(fan in), gain 0.7, or 0.35 for what writes to the residual stream; norms 1, biases
 * 0. Keys of the decoder begin as the queries that share them, so that what is alike attends to each other (mimetic
 * initialisation, arXiv 2305.09828). Numbers begin as points of a smooth random curve.
 * @param numberIds by pixel: the token of its number
 */
export function initialize(model: VisionLanguageModel, seed: number, numberIds: readonly number[]): void {
  const { headSize, hiddenSize } = model.config.text;
  const named = model.namedParameters();
  scope(() =>
    noGrad(() => {
      for (const [name, parameter] of named) {
        const [rows = 1, ...rest] = parameter.shape;
        const isNorm = /(norm\w*|ln_q)\.weight$/.test(name);
        if (parameter.shape.length === 1) {
          parameter.fill_(isNorm ? 1 : 0);
          continue;
        }
        const fanIn = rest.reduce((a, b) => a * b, 1);
        const random = new Random(`initial/${seed}/${name}`);
        const isEmbedding = name.endsWith('embed_tokens.weight');
        const deviation = isEmbedding ? EMBEDDING_DEVIATION : (isOutput(name) ? 0.35 : 0.7) / Math.sqrt(fanIn);
        const values = Float32Array.from({ length: rows * fanIn }, () => deviation * random.normal());
        if (isEmbedding) bendNumbers(values, fanIn, random, numberIds);
        parameter.copy_(tensor(values, { shape: parameter.shape }));
      }
      for (const [name, keys] of named) {
        if (!/\d+\.self_attn\.k_proj\.weight$/.test(name)) continue;
        const queries = named.get(name.replace('k_proj', 'q_proj'));
        if (queries) keys.copy_(firstOfGroups(queries, keys.size(0) / headSize, headSize, hiddenSize));
      }
    }),
  );
}

/** The weight of the first query head of every group: [groups * size, width]. */
const firstOfGroups = (queries: Tensor, groups: number, size: number, width: number): Tensor =>
  queries
    .view(groups, -1, size, width)
    .select(1, 0)
    .reshape(groups * size, width);

/** Random Fourier features of a Gaussian process: every coordinate is a sum of cosines of the number. */
function bendNumbers(embedding: Float32Array, width: number, random: Random, numberIds: readonly number[]): void {
  for (let column = 0; column < width; column++) {
    const waves = NUMBER_SCALES.map((scale) => [random.normal() / scale, 2 * Math.PI * random.uniform()] as const);
    numberIds.forEach((id, value) => {
      const sum = waves.reduce((total, [frequency, phase]) => total + Math.cos(frequency * value + phase), 0);
      embedding[id * width + column] = EMBEDDING_DEVIATION * Math.sqrt(2 / waves.length) * sum;
    });
  }
}
