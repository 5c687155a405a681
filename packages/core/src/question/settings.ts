/**
 * The settings of an experiment: what is asked, how images are seen, how answers are limited, read and scored. A checkpoint
 * carries them beside its weights (`experiment.json`), so that whatever measures it asks as training did.
 */
import { existsSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

import type { Config } from '../config/schema.ts';
import { messageOf, UserError } from '../errors.ts';
import { readText } from '../regular.ts';

/** Name of the file in a checkpoint, and in what is exported from one. */
export const experimentFile = 'experiment.json';
const maxBytes = 2 ** 22;

const text = z.string().max(1_000_000);
const name = z.string().min(1).max(1000);
const count = z.int().positive();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const settingsSchema = z.object({
  /** Task of samples that name none. */
  task: name,
  /** Parameters of tasks by name; of those that were used, all of them, with nothing left to `auto`. */
  parameters: z.record(name, z.record(z.string(), z.unknown())),
  /** Template of the user turn in place of the samples' and the task's own. */
  prompt: text.optional(),
  /** By task: that of the samples it was trained on, for questions which bring none. */
  templates: z.record(name, text).optional(),
  /** System turn; unset: the chat template's own. */
  system: text.optional(),
  maxPromptTokens: count.optional(),
  /** Areas in pixels; unset: as the model's own files say. */
  minPixels: count.optional(),
  maxPixels: count.optional(),
  /** Whether prompts open a thought; unset: as the chat template does. */
  think: z.boolean().optional(),
  /** Longest answer that is evaluated. */
  maxNewTokens: count,
  /** Whether a thought earns its mark always, or beside right answers alone. */
  thinking: z.enum(['always', 'whenCorrect']).default('always'),
  /** Files of tasks and rewards of the user's own. */
  plugins: z.array(z.object({ name, sha256 })),
  /** Rewards beside those of the tasks; `sha256` of what a reward without a file does. */
  rewards: z.array(z.object({ name, weight: z.number(), sha256: sha256.optional() })),
});

export type Settings = z.output<typeof settingsSchema>;

const fileSchema = settingsSchema.extend({ version: z.literal(1) });

/** Settings of which some are left out, or undefined. */
export type GivenSettings = { readonly [Key in keyof Settings]?: Settings[Key] | undefined };

/** Where settings came from, and those that they say; what they leave out is left to others. */
export interface Layer {
  readonly from: string;
  readonly settings: GivenSettings;
}

const defaults: Settings = {
  task: 'grounding',
  parameters: {},
  maxNewTokens: 512,
  thinking: 'always',
  plugins: [],
  rewards: [],
};

export interface Settled {
  readonly settings: Settings;
  /** The layer that decided, of settings that are not the default. */
  readonly origins: ReadonlyMap<keyof Settings, string>;
}

/** One value per setting: that of the last layer which has one. Parameters of tasks are merged key by key. */
export function settle(layers: readonly Layer[]): Settled {
  let settings = defaults;
  const origins = new Map<keyof Settings, string>();
  for (const layer of layers) {
    const given = Object.entries(layer.settings).filter(([, value]) => value !== undefined);
    for (const [key, value] of given) if (!isEmpty(value)) origins.set(key as keyof Settings, layer.from);
    const parameters = merge(settings.parameters, layer.settings.parameters ?? {}) as Settings['parameters'];
    settings = { ...settings, ...Object.fromEntries(given), parameters };
  }
  return { settings, origins };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isEmpty = (value: unknown): boolean => typeof value === 'object' && Object.keys(value ?? {}).length === 0;

function merge(
  below: Readonly<Record<string, unknown>>,
  above: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const merged = Object.entries(above).map(([key, value]) => {
    const own = Object.hasOwn(below, key) ? below[key] : undefined;
    return [key, isObject(own) && isObject(value) ? merge(own, value) : value] as const;
  });
  return { ...below, ...Object.fromEntries(merged) };
}

/** A line per origin but one, such as `from runs/cars/best: prompt, maxPixels 3136`. */
export function describeOrigins({ settings, origins }: Settled, known: string): string[] {
  const shown = (key: keyof Settings): string => {
    const value = settings[key];
    if (key === 'parameters') return `parameters of ${Object.keys(settings.parameters).join(', ')}`;
    if (key === 'plugins') return settings.plugins.map((each) => `plugin ${each.name}`).join(', ');
    if (key === 'rewards') return settings.rewards.map((each) => `reward ${each.name}`).join(', ');
    return typeof value === 'number' || key === 'task' || key === 'thinking'
      ? `${key} ${value as string | number}`
      : key;
  };
  const byOrigin = Map.groupBy(origins.keys(), (key) => origins.get(key)!);
  byOrigin.delete(known);
  return [...byOrigin].map(([from, keys]) => `from ${from}: ${keys.map(shown).join(', ')}`);
}

/** What a configuration says of them. */
export function settingsOf(
  config: Pick<Config, 'data' | 'task' | 'tasks' | 'thinking' | 'eval' | 'rollout'>,
): GivenSettings {
  const { task, prompt, system, maxPromptTokens, minPixels, maxPixels, think } = config.data;
  return {
    ...{ task, prompt, system, maxPromptTokens, minPixels, maxPixels, think },
    parameters: { ...config.tasks, [task]: config.task },
    thinking: config.thinking,
    maxNewTokens: config.eval.maxNewTokens ?? config.rollout.maxNewTokens,
  };
}

/**
 * What a checkpoint carries; undefined where it carries nothing. The file is untrusted: parameters are checked by the tasks.
 * @throws UserError where it is malformed
 */
export function readSettings(directory: string): Settings | undefined {
  const file = path.join(directory, experimentFile);
  if (!existsSync(file)) return undefined;
  try {
    if (statSync(file).size > maxBytes) throw new UserError(`is larger than ${maxBytes} bytes`);
    const { version: _, ...settings } = fileSchema.parse(JSON.parse(readText(file)));
    return settings;
  } catch (error) {
    const [issue] = error instanceof z.ZodError ? error.issues : [];
    const reason = issue ? `${issue.path.join('.')}: ${issue.message}` : messageOf(error);
    throw new UserError(reason, {
      where: file,
      remedy: 'Restore the file, or remove it: then the settings are those of the command.',
    });
  }
}

/** Writes what `readSettings` reads. */
export function writeSettings(file: string, settings: Settings): void {
  writeFileSync(file, `${JSON.stringify({ version: 1, ...settings }, undefined, 2)}\n`);
}

/** What the first of a model's directories that carries settings says: an adapter, then its base. */
export function carriedSettings(
  directories: readonly (string | undefined)[],
): { from: string; settings: Settings } | undefined {
  for (const directory of directories) {
    const settings = directory === undefined ? undefined : readSettings(directory);
    if (settings) return { from: directory!, settings };
  }
  return undefined;
}

/** How prompts are made of questions: as given, else as a model's directories carry it. */
export function promptSettings(
  directories: readonly (string | undefined)[],
  given: Pick<GivenSettings, 'minPixels' | 'maxPixels' | 'think'>,
): Pick<Settings, 'minPixels' | 'maxPixels' | 'think'> {
  const { minPixels, maxPixels, think } = carriedSettings(directories)?.settings ?? {};
  return {
    minPixels: given.minPixels ?? minPixels,
    maxPixels: given.maxPixels ?? maxPixels,
    think: given.think ?? think,
  };
}
