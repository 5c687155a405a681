/** The policies that a comparison measures, each with what decides its result. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';

import type { Config } from '../config/schema.ts';
import { missingFile, UserError } from '../errors.ts';
import { isHubId } from '../hub/id.ts';
import { sha256 } from '../disk/durable.ts';
import { said, saidOfQuestions } from './decisive.ts';
import { BASELINE, configOf, type Comparison, type MergeDefinition } from './definition.ts';
import { readResult, type StoredResult } from './result.ts';
import { dataOf } from '../question/training.ts';

/** A policy that is to be measured. */
export interface Job {
  readonly run: string;
  readonly seed: number;
  /** The configuration; of a merged policy that of the first of its runs. */
  readonly config: Config;
  readonly hash: string;
  readonly file: string;
  readonly merge?: { readonly definition: MergeDefinition; readonly of: readonly [Job, Job] };
}

/** The baseline, then all runs and what is merged of them with the first seed, all with the next. */
export async function jobsOf(comparison: Comparison): Promise<Job[]> {
  const { runs, merged, seeds, results, data, maxNewTokens, by } = comparison;
  const print = fingerprints();
  const held = Object.fromEntries(
    await Promise.all([...data].map(async ([name, file]) => [name, await print(file)] as const)),
  );
  const fileOf = (run: string, seed: number): string => path.join(results, `${run}-seed-${seed}.json`);
  const job = async (run: string, seed: number, config: Config): Promise<Job> => {
    const own = await (run === BASELINE ? decisiveOfBaseline : decisive)(config, print);
    const answers = maxNewTokens ?? config.eval.maxNewTokens ?? config.rollout.maxNewTokens;
    // A server computes with other kernels: answers by one are not set against those by a policy itself.
    const hash = hashOf([own, held, answers, ...(by ? [by.backend] : [])]);
    return { run, seed, config, hash, file: fileOf(run, seed) };
  };
  const first = configOf(comparison, runs[0]!, seeds[0]!);
  const jobs = [await job(BASELINE, seeds[0]!, first)];
  for (const seed of seeds) {
    const own = new Map<string, Job>();
    for (const run of runs) own.set(run.name, await job(run.name, seed, configOf(comparison, run, seed)));
    jobs.push(...own.values());
    for (const [run, definition] of merged) {
      const of = [own.get(definition.of[0])!, own.get(definition.of[1])!] as const;
      const hash = hashOf([definition, of.map((each) => each.hash)]);
      jobs.push({ run, seed, config: of[0].config, hash, file: fileOf(run, seed), merge: { definition, of } });
    }
  }
  return jobs;
}

export const hashOf = (content: unknown): string => createHash('sha256').update(JSON.stringify(content)).digest('hex');

type Print = (file: string) => Promise<string>;

/** Remembers what it has read. */
export function fingerprints(): Print {
  const known = new Map<string, string>();
  return async (file) => {
    const found = known.get(file) ?? (await fingerprint(file));
    known.set(file, found);
    return found;
  };
}

/** What decides a training. Files count by what they hold, so that results are good elsewhere too. */
export async function decisive(config: Config, print: Print): Promise<unknown[]> {
  return [said(config), await filesOf(config, print)];
}

/** What decides the answers of the model before training: it is asked as the training of this configuration asks. */
async function decisiveOfBaseline(config: Config, print: Print): Promise<unknown[]> {
  return [saidOfQuestions(config), await filesOf(config, print)];
}

/** Validation data decide what parameters of tasks leave to `auto`, as training data do. */
async function filesOf(config: Config, print: Print): Promise<Record<string, string[]>> {
  const { learned, held } = dataOf(config);
  const all = {
    model: [config.model, ...(config.base === undefined ? [] : [config.base])],
    data: [...learned, ...held].map(({ file }) => file),
    plugins: config.plugins,
  };
  const printed = Object.entries(all).map(
    async ([kind, files]) => [kind, await Promise.all(files.map(print))] as const,
  );
  return Object.fromEntries(await Promise.all(printed));
}

/** What stands for a file its content, for a model's directory its configuration and sizes, for the hub its name. */
async function fingerprint(file: string): Promise<string> {
  if (!existsSync(file)) {
    if (isHubId(file)) return file;
    throw missingFile(file);
  }
  if (!statSync(file).isDirectory()) return sha256(file);
  const weights = readdirSync(file).filter((name) => name.endsWith('.safetensors'));
  if (weights.length === 0) return hashOf(filesIn(file));
  const sizes = weights.sort().map((name) => `${name} ${statSync(path.join(file, name)).size}`);
  const config = path.join(file, 'config.json');
  return [existsSync(config) ? await sha256(config) : '', ...sizes].join('\n');
}

/** Names and sizes of all files of a dataset. */
const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => path.join(parentPath, name))
    .map((file) => `${path.relative(folder, file)} ${statSync(file).size}`)
    .sort();

/** Undefined where there is none. @throws UserError for a result of something else */
export function resultOf({ file, hash }: Job): StoredResult | undefined {
  const found = readResult(file);
  if (found && found.hash !== hash) throw otherResult(file);
  return found;
}

export const otherResult = (file: string): UserError =>
  new UserError('this is the result of another configuration, or of other data', {
    where: file,
    remedy: 'Choose another output, or remove it together with its run.',
  });
