/** The data of a training, and the experiment that it decides. */
import type { Config } from '../config/schema.ts';
import { shareOf } from '../config/share.ts';
import { splitSamples } from '../data/split.ts';
import { UserError } from '../errors.ts';
import type { Sample } from '../types.ts';
import { Experiment, type ExperimentSources, type LoadedSamples, type ReadOptions } from './experiment.ts';
import { settingsOf } from './settings.ts';

export interface TrainingData {
  readonly samples: readonly Sample[];
  readonly validation: readonly Sample[];
  readonly experiment: Experiment;
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
  { onProgress, ...sources }: ExperimentSources & Pick<ReadOptions, 'onProgress'> = {},
): Promise<TrainingData> {
  const { data, eval: evaluation } = config;
  const [learned, held] = dataOf(config);
  const { processes, ...limits } = config.reward;
  const opened = Experiment.open(settingsOf(config), {
    ...{ ...sources, plugins: config.plugins, processes },
    limits: { ...limits, onWarning: sources.onWarning },
  });
  const faults = new Set<string>();
  const load = async (experiment: Experiment, { file, limit }: DataFile): Promise<LoadedSamples> => {
    try {
      const { format, boxes, units } = data;
      return await experiment.load(file, { limit, format, boxes, units, onProgress, onNote: sources.onWarning });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      faults.add(error.message);
      return { samples: [], experiment };
    }
  };
  const { samples, experiment: trained } = await load(opened, learned);
  const share = shareOf(data.validation);
  if (share !== undefined) {
    if (faults.size > 0) throw new UserError([...faults].join('\n'));
    const parts = await splitSamples(samples, { validation: share, test: 0 }, config.seed);
    const [train = [], rest = []] = [parts.get('train'), parts.get('validation')];
    if (train.length === 0 || rest.length === 0) {
      throw new UserError(`${data.validation ?? ''} of ${samples.length} samples leave a part empty`, {
        where: 'data.validation',
        remedy: 'Samples that share a picture stay together: name another share, or a file.',
      });
    }
    return { samples: train, validation: rest.slice(0, evaluation.limit), experiment: trained };
  }
  const { samples: validation, experiment } =
    held === undefined ? { samples: [], experiment: trained } : await load(trained, held);
  if (faults.size > 0) throw new UserError([...faults].join('\n'));
  return { samples, validation, experiment };
}
