/** Arguments that are a configuration: a file with changes to it, or the keys alone. */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import type { Config } from '@visurf/core';
import type { ComputeOptions } from './options.ts';

/** What was typed. */
export interface Given {
  readonly file: string | undefined;
  readonly changes: readonly string[];
}

/** The argument that is no change is the file; without one, keys are enough. */
export const withConfiguration = (command: Command): Command =>
  command
    .argument('[config.yaml]', 'the configuration; without one, keys alone say everything: data.train, model, ...')
    .argument('[key=value...]', 'changes to it, such as optimizer.learningRate=1e-6');

const isChange = (text: string): boolean => /^[A-Za-z][\w.-]*=/.test(text) && !existsSync(text);

const isData = (file: string): boolean =>
  /\.(jsonl|ndjson|parquet|csv|tsv|xml|zip)$/i.test(file) ||
  statSync(file, { throwIfNoEntry: false })?.isDirectory() === true;

/** Tells the two apart. Ends the command where there is neither. */
export function givenOf(
  first: string | undefined,
  others: readonly string[],
  compute: { readonly [Key in keyof ComputeOptions]?: ComputeOptions[Key] | undefined },
  command: Command,
): Given {
  const own = (['device', 'precision', 'stream'] as const).flatMap((key) =>
    compute[key] ? [`${key}=${compute[key]}`] : [],
  );
  if (first === undefined) {
    command.error("error: missing required argument 'config.yaml', or keys in its place: data.train=FILE model=DIR");
  }
  const all = [first, ...others];
  const place = all.findIndex((each) => !isChange(each));
  const file = all[place];
  if (file === undefined) return { file, changes: [...othersOf(all), ...own] };
  if (isData(file)) {
    const keys = `data.train=${file} model=DIR`;
    command.error(`error: ${file} is data, no configuration: visurf ${command.name()} ${keys}, or visurf init ${file}`);
  }
  return { file, changes: [...all.toSpliced(place, 1), ...own] };
}

/** What a configuration needs and nobody said is as a first try has it. */
function othersOf(changes: readonly string[]): string[] {
  const valueOf = (key: string): string | undefined =>
    changes.findLast((change) => change.startsWith(`${key}=`))?.slice(key.length + 1);
  const data = valueOf('data.train');
  const isLong = ['steps', 'epochs'].some((key) => valueOf(key) !== undefined);
  const name = data === undefined ? undefined : /[\w-]+/.exec(path.parse(data.replace(/^\[/, '')).name)?.[0];
  return [
    ...(valueOf('output') === undefined && name !== undefined ? [`output=runs/${name}`] : []),
    ...(isLong ? [] : ['epochs=1']),
    ...changes,
  ];
}

/** The configuration. @param onWarning hears of keys that were not said, and of keys that are of no use */
export async function configurationOf({ file, changes }: Given, onWarning: (message: string) => void): Promise<Config> {
  const { loadConfig } = await import('@visurf/core');
  return loadConfig(file, changes, { onWarning });
}

/** The arguments, to be typed again. */
export const typed = ({ file, changes }: Given): string =>
  [...(file === undefined ? [] : [file]), ...changes].map(quoted).join(' ');

const quoted = (text: string): string => (/^[\w./:=,%@+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
