/** The tests' tiny model, with a small step of training: numbers that can be worked out by hand. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { parseConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { parseModelConfig } from '../families/config.ts';
import { tinyModel } from './oracle.ts';
import { sizesOf } from '../plan/sizes.ts';
import type { Subject, Workload } from '../plan/workload.ts';

const model = parseModelConfig(JSON.parse(readFileSync(join(tinyModel, 'config.json'), 'utf8')));

/** Two micro-batches of a prompt of 20 tokens with three responses of 5: 35 tokens in a row. */
const workload: Workload = {
  prompts: 2,
  microBatch: 1,
  promptTokens: 20,
  patches: 16,
  group: 2,
  responses: 3,
  responseTokens: 5,
  images: 4,
  evaluated: 0,
  evaluationTokens: 5,
};

export interface Changes {
  readonly config?: object;
  readonly workload?: Partial<Workload>;
  /** Bytes of a parameter in the file. */
  readonly item?: number;
}

export function subjectOf({ config: changes = {}, workload: other = {}, item = 4 }: Changes = {}): Subject {
  const config: Config = parseConfig({
    model: tinyModel,
    output: 'unused',
    data: { train: 'unused' },
    steps: 1,
    ...changes,
  });
  const { lora, freezeVision } = config.train;
  return {
    model,
    sizes: sizesOf(model, (parameters) => item * parameters, config),
    workload: { ...workload, ...other },
    config,
    frozenVision: freezeVision || (lora !== undefined && !lora.vision),
  };
}
