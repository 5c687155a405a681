/** Checkpoints of both families in every layout of files, with what transformers computed (oracle/configurations.py). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { SafetensorsFile } from '@visurf/torch';

import type { Message } from '../prompt/template.ts';
import type { Grid } from '../types.ts';
import { fixtures } from './oracle.ts';

export interface ExpectedResponse {
  readonly tokens: number[];
  readonly weight: number;
  readonly logProbs: number[];
  readonly logProbs64: number[];
}

export interface ExpectedCase {
  readonly name: string;
  /** Files by absolute path. */
  readonly messages: Message[];
  readonly rendered: string;
  readonly inputIds: number[];
  readonly positionIds: number[][];
  readonly imageGridThw: Grid[];
  readonly videoGridThw: Grid[];
  readonly imagePixelsSha256?: string;
  readonly videoPixelsSha256?: string;
  readonly responses: ExpectedResponse[];
  /** Tokens by repetition penalty. */
  readonly greedy: Record<string, { tokens: number[]; lead: number }>;
}

export interface ExpectedSteps {
  readonly settings: { lr: number; betas?: [number, number]; eps?: number; weight_decay?: number };
  readonly losses: number[];
  readonly parameters: Record<string, { moved: number; samples: number[] }>;
}

export interface Configuration {
  readonly name: string;
  /** The checkpoint's directory. */
  readonly model: string;
  readonly cases: ExpectedCase[];
  readonly gradient: { loss: number; norms: Record<string, number>; largest: Record<string, number> };
  readonly updates: Record<'sgd' | 'adamw', ExpectedSteps>;
  /** How far the reference's own bfloat16 log-probabilities are from its float32. */
  readonly bfloat16: { max: number; rms: number };
  /** `<case>.<name>`, `gradient.<key>` */
  readonly tensors: SafetensorsFile;
}

const folder = join(fixtures, 'configurations');

export const configurationNames: readonly string[] = readdirSync(folder).sort();

const absolute = (file: string): string => join(fixtures, 'images', file);

function withPaths(messages: readonly Message[]): Message[] {
  return messages.map(({ role, content }) => ({
    role,
    content:
      typeof content === 'string'
        ? content
        : content.map((part) => {
            if (part.type === 'image' && typeof part.image === 'string')
              return { ...part, image: absolute(part.image) };
            if (part.type === 'video') return { ...part, video: part.video.map(absolute) };
            return part;
          }),
  }));
}

export function openConfiguration(name: string): Configuration {
  const directory = join(folder, name);
  type File = Omit<Configuration, 'cases'> & { cases: Record<string, Omit<ExpectedCase, 'name'>> };
  const { cases, ...expected } = JSON.parse(readFileSync(join(directory, 'expected.json'), 'utf8')) as File;
  return {
    ...expected,
    name,
    model: join(directory, 'model'),
    cases: Object.entries(cases).map(([case_, each]) => ({ ...each, name: case_, messages: withPaths(each.messages) })),
    tensors: new SafetensorsFile(join(directory, 'expected.safetensors')),
  };
}
