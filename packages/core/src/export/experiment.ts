/** What a model was trained by, among its files: so it is asked and scored wherever it goes. */
import type { Family } from '../model/family.ts';
import { experimentFile, writeSettings, type Settings } from '../question/settings.ts';
import type { Writers } from './huggingface.ts';
import { withPixelLimits, type PixelLimits } from './processor.ts';

/**
 * Writers of the same files, and of the settings that the model was trained by; processor files state its limits.
 * @param settings undefined of a model that carries none
 * @param limits in place of those of the training
 */
export function withExperiment(
  files: Writers,
  family: Family,
  settings: Settings | undefined,
  limits: PixelLimits = {},
): Writers {
  const minPixels = limits.minPixels ?? settings?.minPixels;
  const maxPixels = limits.maxPixels ?? settings?.maxPixels;
  const seen = withPixelLimits(files, family.processor, { minPixels, maxPixels });
  if (!settings) return seen;
  return { ...seen, [experimentFile]: (file) => writeSettings(file, { ...settings, minPixels, maxPixels }) };
}
