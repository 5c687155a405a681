/** The data of a training, and the experiment that it decides. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Config } from '../config/schema.ts';
import { trainingSets, type TrainingSet } from '../config/sets.ts';
import { shareOf } from '../config/share.ts';
import { Corrections } from '../data/corrections.ts';
import { peekSamples, type DatasetOptions } from '../data/dataset.ts';
import { dataHubName } from '../data/hub.ts';
import type { Frames } from '../data/images.ts';
import { paced } from '../data/paced.ts';
import { printOf, type DataPrint } from '../data/print.ts';
import { joinSamples, MixedSamples, setsOf, type MixedSet } from '../data/samples.ts';
import { splitSamples } from '../data/split.ts';
import { Numbers, Texts } from '../data/texts.ts';
import { UserError } from '../errors.ts';
import type { Sample, Samples } from '../types.ts';
import { Experiment, type ExperimentSources, type LoadedSamples, type LoadOptions } from './experiment.ts';
import type { DataPrints } from './resume.ts';
import { settingsOf } from './settings.ts';

export interface TrainingData {
  readonly samples: Samples;
  readonly validation: Samples;
  readonly experiment: Experiment;
  /** How many images both show. */
  readonly images: number;
  /** Sizes of them. */
  readonly frames: Frames;
  readonly prints: DataPrints;
  /** Stand for those images. */
  readonly imagesPrints: readonly string[];
}

interface DataFile extends Pick<DatasetOptions, 'limit' | 'split' | 'isHeld'> {
  readonly file: string;
}

type LearnedFile = TrainingSet & DataFile;

interface DataFiles {
  readonly learned: readonly [LearnedFile, ...LearnedFile[]];
  readonly held: DataFile[];
}

/** The files that decide what a training asks: those that it learns from, and the one that it evaluates on. */
export function dataOf({ data, eval: { limit } }: Config): DataFiles {
  const held = shareOf(data.validation) === undefined ? data.validation : undefined;
  const [first, ...others] = trainingSets(data.train);
  const learned = (set: TrainingSet): LearnedFile => ({ ...set, split: data.split });
  return {
    learned: [learned(first), ...others.map(learned)],
    held: held === undefined ? [] : [{ file: held, limit, isHeld: true }],
  };
}

/**
 * What is left to `auto` is decided by the samples of all files together, as far as they can be read.
 * @throws UserError where parameters contradict them
 */
export async function decideTogether(
  experiment: Experiment,
  files: readonly DataFile[],
  { data }: Config,
  signal?: AbortSignal,
): Promise<Experiment> {
  const seen = new Map<string, Samples[]>();
  for (const { file, limit, split, isHeld } of files) {
    if (!existsSync(file) && dataHubName(file) === undefined) continue;
    const { tasks } = await peekSamples(file, { ...data, limit, split, isHeld, signal });
    for (const [task, own] of tasks) seen.set(task, [...(seen.get(task) ?? []), own]);
  }
  return experiment.decideTasks(new Map([...seen].map(([task, own]) => [task, joinSamples(...own)])));
}

/** All files are read before one of them is complained about. @throws UserError that lists what is wrong */
export async function loadData(
  config: Config,
  {
    onProgress,
    onDownload,
    onSkip,
    signal,
    ...sources
  }: ExperimentSources & Pick<LoadOptions, 'onProgress' | 'onDownload' | 'onSkip' | 'signal'> = {},
): Promise<TrainingData> {
  const { data } = config;
  const { learned, held } = dataOf(config);
  const { processes, ...limits } = config.reward;
  const opened = Experiment.open(settingsOf(config), {
    ...{ ...sources, plugins: config.plugins, processes },
    limits: { ...limits, onWarning: sources.onWarning },
  });
  const faults = new Set<string>();
  const load = async (
    experiment: Experiment,
    { file, limit, split, isHeld }: DataFile,
  ): Promise<LoadedSamples | undefined> => {
    try {
      const { format, boxes, units, allowOutside, maxImagePixels: maxPixels } = data;
      const onNote = sources.onWarning;
      return await experiment.load(file, {
        limit,
        split,
        isHeld,
        format,
        boxes,
        units,
        allowOutside,
        limits: { maxPixels },
        onProgress,
        onDownload,
        onSkip,
        signal,
        onNote,
      });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      faults.add(error.message);
      return undefined;
    }
  };
  let experiment = learned.length > 1 ? await decideTogether(opened, learned, config, signal) : opened;
  const sets: LoadedSet[] = [];
  for (const set of learned) {
    const loaded = await load(experiment, set);
    if (!loaded) continue;
    experiment = loaded.experiment;
    sets.push({ ...set, loaded });
  }
  const share = shareOf(data.validation);
  const kept = held[0] && (await load(experiment, held[0]));
  if (data.corrections !== undefined) requireCorrections(data.corrections, faults);
  if (faults.size > 0) throw new UserError([...faults].join('\n'));
  const loaded = await joined(sets, signal);
  if (share !== undefined) return await splitData(loaded, share, config, signal);
  const { samples, frames, prints, imagesPrints } = loaded;
  const print = prints.length === 1 ? prints[0]! : prints;
  if (!kept) {
    return {
      ...{ samples, validation: [], experiment, images: loaded.images, frames, imagesPrints },
      prints: { train: print, validation: undefined },
    };
  }
  const shared = await sharedPictures(kept, loaded, signal);
  if (shared !== undefined) sources.onWarning?.(shared);
  return {
    images: loaded.images + [...kept.imageFiles()].filter((file) => frames.get(file) === undefined).length,
    imagesPrints: [...imagesPrints, kept.imagesPrint],
    ...{ samples, validation: kept.samples, experiment: kept.experiment },
    frames: { get: (file) => frames.get(file) ?? kept.frames.get(file) },
    prints: { train: print, validation: kept.samples.length > 0 ? kept.print : undefined },
  };
}

/** Corrections may come later; what is there now must be a file. */
function requireCorrections(file: string, faults: Set<string>): void {
  try {
    new Corrections(file).read();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    faults.add(error.message);
  }
}

/** What is said where validation shows pictures that training shows, by what their files hold; undefined where it does not. */
async function sharedPictures(
  { imageFiles, hashOf }: LoadedSamples,
  learned: JoinedSets,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const hashes = new Set<string>();
  const visit = ({ images }: Sample): void => {
    for (const file of images) {
      const hash = learned.hashOf(file);
      if (hash !== undefined) hashes.add(hash);
    }
  };
  await paced(learned.samples, visit, { signal });
  const held = [...imageFiles()];
  const shared = held.filter((file) => hashes.has(hashOf(file) ?? '')).length;
  if (shared === 0) return undefined;
  const which = shared === held.length ? `all ${shared}` : `${shared} of ${held.length}`;
  return (
    `data.validation shows ${which} pictures that training shows, too: it measures what was learned by heart. Hold out ` +
    'others: visurf data split, or data.validation: 10%'
  );
}

interface LoadedSet extends TrainingSet {
  readonly loaded: LoadedSamples;
}

interface JoinedSets extends Pick<
  LoadedSamples,
  'samples' | 'frames' | 'images' | 'bytesOf' | 'hashOf' | 'experiment'
> {
  readonly prints: readonly DataPrint[];
  readonly imagesPrints: readonly string[];
}

/** Sets of which training draws by weight; one set stays as it is. */
async function joined(sets: readonly LoadedSet[], signal: AbortSignal | undefined): Promise<JoinedSets> {
  const all = sets.map(({ loaded }) => loaded);
  const [first, last] = [all[0]!, all.at(-1)!];
  const lists = { prints: all.map(({ print }) => print), imagesPrints: all.map(({ imagesPrint }) => imagesPrint) };
  if (all.length === 1) return { ...first, ...lists };
  const files = new Texts();
  for (const { imageFiles } of all) for (const file of imageFiles()) files.add(file);
  const foundIn = <T>(find: (loaded: LoadedSamples) => T | undefined): T | undefined => {
    for (const each of all) {
      const found = find(each);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return {
    ...lists,
    samples: await mixed(sets, signal),
    experiment: last.experiment,
    images: files.size,
    frames: { get: (file) => foundIn(({ frames }) => frames.get(file)) },
    bytesOf: (file) => foundIn(({ bytesOf }) => bytesOf(file)),
    hashOf: (file) => foundIn(({ hashOf }) => hashOf(file)),
  };
}

/** The sets with ids that are apart: a set that has one of an earlier set gets the name of its file before all of its own. */
async function mixed(sets: readonly LoadedSet[], signal: AbortSignal | undefined): Promise<MixedSamples> {
  const ids = new Texts();
  const prefixes = new Set<string>();
  const made: MixedSet[] = [];
  for (const [i, { file, weight, loaded }] of sets.entries()) {
    const before = ids.size;
    const shared = new Numbers();
    const visit = ({ id }: Sample): void => {
      const number = ids.add(id);
      if (number < before) shared.push(number);
    };
    await paced(loaded.samples, visit, { signal });
    const name = path.basename(file);
    const prefix = shared.size > 0 ? `${prefixes.has(name) ? `${name}#${i + 1}` : name}:` : '';
    prefixes.add(name);
    made.push({ samples: loaded.samples, weight, prefix });
  }
  return new MixedSamples(made);
}

/** A share of the samples is held out. */
async function splitData(
  { samples, frames, images, bytesOf, hashOf, imagesPrints, experiment }: JoinedSets,
  share: number,
  { data, eval: { limit }, seed }: Config,
  signal: AbortSignal | undefined,
): Promise<TrainingData> {
  const parts = await splitSamples(samples, { validation: share, test: 0 }, seed, { hashOf, signal });
  const [train = [], rest = []] = [parts.get('train'), parts.get('validation')];
  if (train.length === 0 || rest.length === 0) {
    throw new UserError(`${data.validation ?? ''} of ${samples.length} samples leave a part empty`, {
      where: 'data.validation',
      remedy: 'Samples that share a picture stay together: name another share, or a file.',
    });
  }
  const validation = limit === undefined ? rest : rest.slice(0, limit);
  const files = trainingSets(data.train);
  const printed: DataPrint[] = [];
  for (const [i, own] of setsOf(train).entries()) printed.push(await printOf(files[i]!.file, own, bytesOf, { signal }));
  const prints = {
    train: printed.length === 1 ? printed[0]! : printed,
    validation: await printOf(data.validation!, validation, bytesOf, { signal }),
  };
  return { samples: train, validation, experiment, images, frames, prints, imagesPrints };
}
