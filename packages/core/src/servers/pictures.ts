/** Pictures as a server takes them: the pixels that the model is to see, without loss. */
import sharp from 'sharp';

import type { Pixels } from '../model/images.ts';

const written = new WeakMap<Pixels, Promise<string>>();

/** A PNG as an address. */
export function dataUri(pixels: Pixels): Promise<string> {
  const known = written.get(pixels);
  if (known) return known;
  const { data, width, height } = pixels;
  const raw = sharp(data, { raw: { width, height, channels: 3 } });
  const made = raw
    .png({ compressionLevel: 1 })
    .toBuffer()
    .then((png) => `data:image/png;base64,${png.toString('base64')}`);
  written.set(pixels, made);
  return made;
}
