/** A model with the experiment that it is measured by. */
import type { Device } from '@visurf/torch';

import { resolveDevice } from './device.ts';
import type { Precision } from './model/projection.ts';
import { loadLocalPolicy, locateModel, type ModelSource, type Policy } from './policy.ts';
import { openMeasure, type Measure, type MeasureOptions } from './question/measure.ts';

export interface OpenOptions extends ModelSource, MeasureOptions {
  readonly device?: Device | undefined;
  readonly precision?: Precision | undefined;
}

/** To be disposed of together with its policy. */
export interface OpenedModel extends Measure {
  readonly policy: Policy;
}

/**
 * Loads a model to answer questions as it was trained, or as the options say.
 * @param model directory in Hugging Face layout, run, or name on the hub
 * @throws UserError for a model that cannot be had, or settings that cannot be used
 * @example
 * const { policy, experiment } = await openModel('runs/cars');
 */
export async function openModel(model: string, options: OpenOptions = {}): Promise<OpenedModel> {
  const { precision } = options;
  const device = resolveDevice(options.device ?? 'cpu');
  const { base, adapter } = await locateModel(model, options);
  const measure = await openMeasure([adapter, base], options);
  const { minPixels, maxPixels, maxPromptTokens } = measure.experiment.settings;
  const seen = { minPixels, maxPixels, maxPromptTokens };
  return { ...measure, policy: loadLocalPolicy(base, { ...seen, adapter, device, precision, dtype: 'auto' }) };
}
