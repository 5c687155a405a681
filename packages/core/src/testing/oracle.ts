/** The fixtures that transformers made (see oracle/README.md), as the tests use them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { SafetensorsFile } from '@visurf/torch';

import type { Prompt } from '../types.ts';

export const fixtures = fileURLToPath(new URL('../../../../oracle/fixtures', import.meta.url));
export const tinyModel = join(fixtures, 'tiny-qwen2_5-vl', 'model');

export interface OracleResponse {
  readonly tokens: number[];
  readonly weight: number;
  readonly logProbs: number[];
  readonly logProbs64: number[];
}

export interface OracleCase {
  readonly name: string;
  readonly images: string[];
  readonly messages: { role: string; content: unknown }[];
  readonly rendered: string;
  readonly inputIds: number[];
  readonly imageGridThw: [number, number, number][];
  readonly positionIds: [number[], number[], number[]];
  readonly responses: OracleResponse[];
  readonly gradientNorms: Record<'single' | 'group', Record<string, number>>;
  readonly greedy: Record<'repetitionPenalty1' | 'repetitionPenalty1.05', { tokens: number[]; lead: number }>;
}

const directory = join(fixtures, 'tiny-qwen2_5-vl');
export const oracleCases: readonly OracleCase[] = Object.entries(
  JSON.parse(readFileSync(join(directory, 'cases.json'), 'utf8')) as Record<string, Omit<OracleCase, 'name'>>,
).map(([name, each]) => ({ ...each, name }));

export const oracleTensors = new SafetensorsFile(join(directory, 'cases.safetensors'));

/** The prompt of a case with the reference's own patches: what the model sees, whatever our image processing does. */
export function oraclePrompt({ name, rendered, inputIds, imageGridThw, positionIds }: OracleCase): Prompt {
  const key = `${name}.pixel_values`;
  return {
    rendered,
    inputIds,
    imageGridThw,
    positionIds,
    pixelValues: oracleTensors.has(key) ? oracleTensors.get(key).toFloat32Array() : undefined,
    frames: [],
  };
}
