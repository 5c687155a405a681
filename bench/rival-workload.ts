/** What the rival is given: the recipe's data in the order in which our trainer sees it, and the recipe's settings. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../packages/core/src/config/schema.ts';
import type { Frame, Label, Sample } from '../packages/core/src/types.ts';

export interface RivalRow {
  readonly sample: Sample;
  readonly frames: readonly Frame[];
  /** The user turn. */
  readonly text: string;
  /** As our tokenizer and chat template have the prompt: the rival's must be the same. */
  readonly promptIds: readonly number[];
  /** The label by surface form, the preferred one of equals first. */
  readonly labels: Readonly<Record<string, string>>;
}

/** A step of ours that the rival repeats: same responses, hence the same gradient. */
export interface Replay {
  /** In the order of the workload's rows. */
  readonly groups: readonly (readonly (Pick<Label, 'reward' | 'advantage'> & {
    readonly kind: 'label' | 'rollout';
    readonly tokens: readonly number[];
  })[])[];
  /** Our optimiser's state after the step. */
  readonly moments: string;
}

/** Written as JSON for the child processes. */
export interface RivalWorkload {
  /** Directory of the base model. */
  readonly model: string;
  /** Directory for the trained one. */
  readonly output: string;
  readonly seed: number;
  /** `promptsPerStep` of them for each step, in order. */
  readonly rows: readonly RivalRow[];
  readonly steps: number;
  readonly promptsPerStep: number;
  /** Prompts whose activations are in memory at once. */
  readonly microBatchPrompts: number;
  /** Rollouts of a prompt, without the label. */
  readonly group: number;
  readonly maxNewTokens: number;
  /** What a rollout never says. */
  readonly forbidden: readonly number[];
  /** Constant that the sum over a response's tokens is divided by. */
  readonly normalizer: number;
  readonly clip: Config['objective']['clip'];
  readonly optimizer: Pick<Config['optimizer'], 'learningRate' | 'betas' | 'weightDecay' | 'clipNorm'>;
  /** Factors of the learning rate, by step. */
  readonly factors: readonly number[];
  /** Parameters of the tasks by name. */
  readonly tasks: Record<string, Record<string, unknown>>;
  readonly weights: Readonly<Record<string, number>>;
  readonly thinkingTerm: string;
  /** Answers with the reward terms of responses (scorer.ts). */
  readonly scorer: readonly string[];
  /** One step of ours to repeat. */
  readonly replay?: Replay | undefined;
  /** Update of a checkpoint, to see whether a run that is resumed from it is the same run. */
  readonly saveAt?: number | undefined;
}

export function writeRivalWorkload(file: string, workload: Omit<RivalWorkload, 'scorer'>): string {
  const scorer = [process.execPath, join(import.meta.dirname, 'scorer.ts'), file];
  writeFileSync(file, JSON.stringify({ ...workload, scorer }));
  return file;
}

export const readRivalWorkload = (file: string): RivalWorkload =>
  JSON.parse(readFileSync(file, 'utf8')) as RivalWorkload;
