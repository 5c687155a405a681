/** Limits on the area of images in the files of a processor: other programs then see images as training did. */
import { writeFileSync } from 'node:fs';
import { readText } from '../regular.ts';

import type { Family } from '../model/family.ts';
import type { AreaLimits } from '../model/images.ts';
import type { Writers } from './huggingface.ts';

export type PixelLimits = AreaLimits;

type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const processorFiles = ['preprocessor_config.json', 'video_preprocessor_config.json', 'processor_config.json'];

/**
 * Writers of the same files, of which those of processors state the limits, in the forms in which they state some.
 * @param files by name, as a checkpoint or an export takes them
 */
export function withPixelLimits(files: Writers, processor: Family['processor'], limits: PixelLimits): Writers {
  if (limits.minPixels === undefined && limits.maxPixels === undefined) return files;
  const changed = processorFiles.flatMap((name) => {
    const write = files[name];
    return write ? [[name, limited(write, processor, limits)] as const] : [];
  });
  return { ...files, ...Object.fromEntries(changed) };
}

const limited =
  (write: (file: string) => void, processor: Family['processor'], limits: PixelLimits) =>
  (file: string): void => {
    write(file);
    const config = JSON.parse(readText(file)) as Fields;
    const nested = [config['image_processor'], config['video_processor']].filter(isFields);
    // A file of a whole processor without settings of images has none to limit.
    for (const settings of file.endsWith('/processor_config.json') ? nested : [config]) {
      if ('open' in processor) Object.assign(settings, processor.limited(settings, limits));
      else limit(settings, limits);
    }
    writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`);
  };

/** A limit that was not asked for gives way: that of videos may lie beyond one that was chosen for images. */
function limit(settings: Fields, { minPixels, maxPixels }: PixelLimits): void {
  const set = (fields: Fields, least: string, most: string): void => {
    const [before, after] = [Number(fields[least] ?? minPixels), Number(fields[most] ?? maxPixels)];
    if (minPixels !== undefined || before > maxPixels!) fields[least] = minPixels ?? maxPixels;
    if (maxPixels !== undefined || after < minPixels!) fields[most] = maxPixels ?? minPixels;
  };
  const size = isFields(settings['size']) ? settings['size'] : undefined;
  const hasEdges = size !== undefined && ('shortest_edge' in size || 'longest_edge' in size);
  const hasArea = 'min_pixels' in settings || 'max_pixels' in settings;
  if (hasEdges) set(size, 'shortest_edge', 'longest_edge');
  if (hasArea || !hasEdges) set(settings, 'min_pixels', 'max_pixels');
}
