/** How large the model sees an image, by the checkpoint's limits of area, and in which coordinates it speaks of it. */
import type { Size } from '../model/images.ts';
import type { Frame } from '../types.ts';

export interface ResizeSettings {
  readonly patchSize: number;
  readonly mergeSize: number;
  /** Area that images are scaled up to, and down to. */
  readonly minPixels: number;
  readonly maxPixels: number;
}

/** The size an image is resized to: sides are multiples of patch * merge, the area within the limits. */
export function smartResize({ width, height }: Size, settings: ResizeSettings): Size {
  const { patchSize, mergeSize, minPixels, maxPixels } = settings;
  const factor = patchSize * mergeSize;
  const rounded = (side: number) => roundHalfToEven(side / factor) * factor;
  const area = rounded(width) * rounded(height);
  if (area > maxPixels) {
    const beta = Math.sqrt((height * width) / maxPixels);
    const shrunk = (side: number) => Math.max(factor, Math.floor(side / beta / factor) * factor);
    return { width: shrunk(width), height: shrunk(height) };
  }
  if (area < minPixels) {
    const beta = Math.sqrt(minPixels / (height * width));
    const grown = (side: number) => Math.ceil((side * beta) / factor) * factor;
    return { width: grown(width), height: grown(height) };
  }
  return { width: rounded(width), height: rounded(height) };
}

/**
 * The size of all frames of a video whose area, over all of them, has limits. Frames too small for one block are scaled up
 * first; as in the reference, the number of frames is rounded to whole temporal patches where areas are compared, and true
 * where they are scaled.
 */
export function videoSize(
  frame: Size,
  frames: number,
  settings: ResizeSettings & { readonly temporalPatchSize: number },
): Size {
  const { patchSize, mergeSize, minPixels, maxPixels, temporalPatchSize } = settings;
  const factor = patchSize * mergeSize;
  const scale = Math.max(1, factor / frame.height, factor / frame.width);
  const [width, height] = [Math.floor(frame.width * scale), Math.floor(frame.height * scale)];
  const rounded = (side: number): number => roundHalfToEven(side / factor) * factor;
  const volume = roundHalfToEven(frames / temporalPatchSize) * temporalPatchSize * rounded(width) * rounded(height);
  if (volume > maxPixels) {
    const beta = Math.sqrt((frames * height * width) / maxPixels);
    const shrunk = (side: number): number => Math.max(factor, Math.floor(side / beta / factor) * factor);
    return { width: shrunk(width), height: shrunk(height) };
  }
  if (volume < minPixels) {
    const beta = Math.sqrt(minPixels / (frames * height * width));
    const grown = (side: number): number => Math.ceil((side * beta) / factor) * factor;
    return { width: grown(width), height: grown(height) };
  }
  return { width: rounded(width), height: rounded(height) };
}

/** Python's `round`. */
export function roundHalfToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Coordinates are pixels of the resized image, or thousandths of its sides. */
export function frameOf(original: Size, resized: Size, thousandths: boolean): Frame {
  const { width, height } = original;
  return {
    width,
    height,
    modelWidth: thousandths ? 1000 : resized.width,
    modelHeight: thousandths ? 1000 : resized.height,
  };
}

/** How a model speaks of places in images: in thousandths, or in pixels of an image that is resized so. */
export type Coordinates =
  { readonly thousandths: true } | { readonly thousandths: false; readonly resize: ResizeSettings };

/** The frame in which the model speaks of an image of that size. */
export const frameFor = (size: Size, coordinates: Coordinates): Frame =>
  frameOf(size, coordinates.thousandths ? size : smartResize(size, coordinates.resize), coordinates.thousandths);

/** Steps of the search for a size, and how many. */
const STEP = 1.15;
const STEPS = 40;

/**
 * What would have to change for something to survive in the coordinates of an image of that size, as advice; undefined
 * where nothing within reason does.
 */
export function survivingSize(
  original: Size,
  coordinates: Coordinates,
  survives: (frame: Frame) => boolean,
): string | undefined {
  if (coordinates.thousandths) return survivingPart(original, survives);
  const { resize } = coordinates;
  const now = smartResize(original, resize);
  for (let i = 1; i <= STEPS; i++) {
    const area = Math.ceil(now.width * now.height * STEP ** i);
    const shrinks = area < original.width * original.height;
    const limits = shrinks
      ? { maxPixels: area }
      : { minPixels: area, ...(area > resize.maxPixels && { maxPixels: 2 * area }) };
    const size = smartResize(original, { ...resize, ...limits });
    if (!survives(frameOf(original, size, false))) continue;
    const keys = Object.entries(limits).map(([key, value]) => `data.${key}: ${value}`);
    const seen = `${size.width} x ${size.height} in place of ${now.width} x ${now.height}`;
    return `it would survive where the model sees the image as ${seen} (${keys.join(', ')})`;
  }
  return undefined;
}

/** Thousandths are as fine as the image is small. */
function survivingPart({ width, height }: Size, survives: (frame: Frame) => boolean): string | undefined {
  for (let i = 1; i <= STEPS; i++) {
    const part = { width: Math.floor(width / STEP ** i), height: Math.floor(height / STEP ** i) };
    if (Math.min(part.width, part.height) < 1) return undefined;
    if (survives(frameOf(part, part, true))) {
      return `it would survive in a part of the image of ${part.width} x ${part.height} pixels, cut out around it`;
    }
  }
  return undefined;
}
