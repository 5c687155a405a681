/** The data of a training, and the experiment that it decides. */
import { shareOf, type Config } from '../config/schema.ts';
import { splitSamples } from '../data/split.ts';
import { UserError } from '../errors.ts';
import type { Sample } from '../types.ts';
import { Experiment, type ExperimentSources, type LoadedSamples } from './experiment.ts';
import { settingsOf } from './settings.ts';

export interface TrainingData {
  readonly samples: readonly Sample[];
  readonly validation: readonly Sample[];
  readonly experiment: Experiment;
}

/** Both files are read before one of them is complained about. @throws UserError that lists what is wrong */
export async function loadData(config: Config, sources: ExperimentSources = {}): Promise<TrainingData> {
  const { data, eval: evaluation } = config;
  const opened = Experiment.open(settingsOf(config), { ...sources, plugins: config.plugins });
  const faults = new Set<string>();
  const load = async (experiment: Experiment, file: string, limit?: number): Promise<LoadedSamples> => {
    try {
      const { format, boxes, units } = data;
      return await experiment.load(file, { limit, format, boxes, units, onNote: sources.onWarning });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      faults.add(error.message);
      return { samples: [], experiment };
    }
  };
  const { samples, experiment: trained } = await load(opened, data.train);
  const share = shareOf(data.validation);
  if (share !== undefined) {
    if (faults.size > 0) throw new UserError([...faults].join('\n'));
    const parts = await splitSamples(samples, { validation: share, test: 0 }, config.seed);
    const [train = [], held = []] = [parts.get('train'), parts.get('validation')];
    if (train.length === 0 || held.length === 0) {
      throw new UserError(`${data.validation ?? ''} of ${samples.length} samples leave a part empty`, {
        where: 'data.validation',
        remedy: 'Samples that share a picture stay together: name another share, or a file.',
      });
    }
    return { samples: train, validation: held.slice(0, evaluation.limit), experiment: trained };
  }
  const held = evaluation.every > 0 ? data.validation : undefined;
  const { samples: validation, experiment } =
    held === undefined ? { samples: [], experiment: trained } : await load(trained, held, evaluation.limit);
  if (faults.size > 0) throw new UserError([...faults].join('\n'));
  return { samples, validation, experiment };
}
