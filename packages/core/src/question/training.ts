/** The data of a training, and the experiment that it decides. */
import type { Config } from '../config/schema.ts';
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
  const held = evaluation.every > 0 ? data.validation : undefined;
  const { samples: validation, experiment } =
    held === undefined ? { samples: [], experiment: trained } : await load(trained, held, evaluation.limit);
  if (faults.size > 0) throw new UserError([...faults].join('\n'));
  return { samples, validation, experiment };
}
