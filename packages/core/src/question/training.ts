/** The data of a training, and the experiment that it decides. */
import type { Config } from '../config/schema.ts';
import { shareOf } from '../config/share.ts';
import type { Frames } from '../data/images.ts';
import { printOf } from '../data/print.ts';
import { splitSamples } from '../data/split.ts';
import { UserError } from '../errors.ts';
import type { Samples } from '../types.ts';
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

interface DataFile {
  readonly file: string;
  readonly limit?: number | undefined;
}

/** The files that decide what a training asks: the one that it learns from, then the one that it evaluates on. */
export function dataOf({ data, eval: { every, limit } }: Config): readonly [DataFile, ...DataFile[]] {
  const held = every > 0 && shareOf(data.validation) === undefined ? data.validation : undefined;
  return [{ file: data.train }, ...(held === undefined ? [] : [{ file: held, limit }])];
}

/** Both files are read before one of them is complained about. @throws UserError that lists what is wrong */
export async function loadData(
  config: Config,
  {
    onProgress,
    onSkip,
    signal,
    ...sources
  }: ExperimentSources & Pick<LoadOptions, 'onProgress' | 'onSkip' | 'signal'> = {},
): Promise<TrainingData> {
  const { data } = config;
  const [learned, held] = dataOf(config);
  const { processes, ...limits } = config.reward;
  const opened = Experiment.open(settingsOf(config), {
    ...{ ...sources, plugins: config.plugins, processes },
    limits: { ...limits, onWarning: sources.onWarning },
  });
  const faults = new Set<string>();
  const load = async (experiment: Experiment, { file, limit }: DataFile): Promise<LoadedSamples | undefined> => {
    try {
      const { format, boxes, units, allowOutside, maxImagePixels: maxPixels } = data;
      const onNote = sources.onWarning;
      return await experiment.load(file, {
        limit,
        format,
        boxes,
        units,
        allowOutside,
        limits: { maxPixels },
        onProgress,
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
  const loaded = await load(opened, learned);
  const share = shareOf(data.validation);
  const kept = held && (await load(loaded?.experiment ?? opened, held));
  if (loaded === undefined || faults.size > 0) throw new UserError([...faults].join('\n'));
  if (share !== undefined) return await splitData(loaded, share, config, signal);
  const { samples, frames, print, experiment, imagesPrint } = loaded;
  if (!kept) {
    const prints = { train: print, validation: undefined };
    return { samples, validation: [], experiment, images: loaded.images, frames, prints, imagesPrints: [imagesPrint] };
  }
  return {
    images: loaded.images + [...kept.imageFiles()].filter((file) => frames.get(file) === undefined).length,
    imagesPrints: [imagesPrint, kept.imagesPrint],
    ...{ samples, validation: kept.samples, experiment: kept.experiment },
    frames: { get: (file) => frames.get(file) ?? kept.frames.get(file) },
    prints: { train: print, validation: kept.samples.length > 0 ? kept.print : undefined },
  };
}

/** A share of the samples is held out. */
async function splitData(
  { samples, frames, images, bytesOf, hashOf, imagesPrint, experiment }: LoadedSamples,
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
  const prints = {
    train: await printOf(data.train, train, bytesOf, { signal }),
    validation: await printOf(data.validation!, validation, bytesOf, { signal }),
  };
  return { samples: train, validation, experiment, images, frames, prints, imagesPrints: [imagesPrint] };
}
