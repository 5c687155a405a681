/**
 * Image files to RGB pixels.
 *
 * Decided where the reference leaves it to the caller: EXIF rotation is applied, transparency is composited on white,
 * colour profiles are ignored, an animation gives its first frame. Only raster formats are opened: SVG never is. The
 * header is checked before anything is decoded, and a damaged file is an error, never half a picture.
 */
import sharp, { type Metadata, type Sharp, type SharpOptions } from 'sharp';
import { fileError, hasCode, messageOf, missingFile, UserError } from '../errors.ts';
import type { Pixels } from '../model/images.ts';
import { openFile, readWhole } from '../regular.ts';

export type { Pixels } from '../model/images.ts';

// The tensor library has the cores; decoded images are cached by us, where it pays.
sharp.concurrency(1);
sharp.cache(false);

export interface ImageLimits {
  /** Bytes of a file. */
  readonly maxBytes: number;
  /** Width times height. */
  readonly maxPixels: number;
  /** Width times height beyond which an image is decoded at a reduced size, of about so many pixels. */
  readonly reducedFrom: number;
  /** Pixels of the shorter side: less shows nothing. */
  readonly minSide: number;
  /** Longer side over shorter side; the reference refuses more. */
  readonly maxAspect: number;
}

export const IMAGE_LIMITS: ImageLimits = {
  maxBytes: 256 * 2 ** 20,
  maxPixels: 100e6,
  // More than any model is shown, in 50 MB.
  reducedFrom: 2 ** 24,
  minSide: 2,
  maxAspect: 200,
};

/** Pixels of an image file, as a viewer shows it. */
export interface Decoded extends Pixels {
  /** Size of the picture: more than that of its pixels where it is so large that it is decoded at a reduced size. */
  readonly full: { readonly width: number; readonly height: number };
}

/** @throws UserError that names the file and says what is wrong with it */
export async function decodeImage(file: string, limits: ImageLimits = IMAGE_LIMITS): Promise<Decoded> {
  return await decodeBytes((await readImage(file, limits)).bytes, file, limits);
}

/**
 * The same of what a file holds.
 * @param file for messages
 */
export async function decodeBytes(bytes: Buffer, file: string, limits: ImageLimits = IMAGE_LIMITS): Promise<Decoded> {
  try {
    const metadata = await sharp(bytes, { limitInputPixels: false }).metadata();
    checkSize(metadata, limits);
    checkPasses(metadata, limits);
    const { width, height, orientation = 1 } = metadata;
    const full = orientation >= 5 ? { width: height, height: width } : { width, height };
    const options: SharpOptions = { limitInputPixels: limits.maxPixels, ignoreIcc: true, failOn: 'warning' };
    const isLarge = width * height > limits.reducedFrom;
    const image = isLarge
      ? reduced(sharp(bytes, { ...options, sequentialRead: true }), metadata, limits)
      : sharp(bytes, options);
    const pixels = await pixelsOf(isLarge ? image : image.autoOrient(), metadata);
    return { ...(isLarge ? await upright(pixels, orientation) : pixels), full };
  } catch (error) {
    if (error instanceof UserError) throw new UserError(error.reason, { where: file, remedy: error.remedy });
    // What libvips says of it depends on what else is decoded at the same time.
    const remedy = 'It may have been cut off: copy or make it again.';
    throw new UserError('damaged or unreadable image', { where: file, remedy, cause: error });
  }
}

async function pixelsOf(image: Sharp, { space }: Metadata): Promise<Pixels> {
  const inks = space === 'cmyk';
  const wanted = inks ? 'cmyk' : 'srgb';
  const { data, info } = await (inks ? image.pipelineColourspace(wanted) : image)
    .toColourspace(wanted)
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  if (inks) return { data: fromInks(data), width, height };
  if (channels === 4) return { data: onWhite(data), width, height };
  if (channels !== 3) throw new UserError(`decodes to ${channels} channels instead of 3`);
  return { data, width, height };
}

/** An image as stored, row by row, at a size that its pixels have room for. */
function reduced(image: Sharp, { width, height }: Metadata, { reducedFrom }: ImageLimits): Sharp {
  const share = Math.sqrt(reducedFrom / (width * height));
  const side = (full: number): number => Math.max(1, Math.floor(full * share));
  return image.resize(side(width), side(height), { fit: 'fill' });
}

/** Turned as EXIF says, which needs all rows at once: of pixels that are few. */
async function upright({ data, width, height }: Pixels, orientation: number): Promise<Pixels> {
  if (orientation === 1) return { data, width, height };
  let turned = sharp(data, { raw: { width, height, channels: 3 }, limitInputPixels: false });
  const angle = { 3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270 }[orientation];
  if (angle !== undefined) turned = turned.rotate(angle);
  const { data: pixels, info } = await turned.raw().toBuffer({ resolveWithObject: true });
  const mirrored = [2, 4, 5, 7].includes(orientation);
  const size = { width: info.width, height: info.height };
  return { data: mirrored ? flopped(pixels, size.width) : pixels, ...size };
}

/** Left and right exchanged. */
function flopped(data: Uint8Array, width: number): Uint8Array {
  const out = new Uint8Array(data.length);
  for (let row = 0; row < data.length; row += 3 * width) {
    for (let x = 0; x < width; x++) {
      const from = row + 3 * (width - 1 - x);
      out.set(data.subarray(from, from + 3), row + 3 * x);
    }
  }
  return out;
}

/** What the header of an image says: its size as stored, and its EXIF orientation, 1 to 8. */
export interface ImageHeader {
  readonly width: number;
  readonly height: number;
  readonly orientation: number;
}

/** @throws UserError where the file is missing or is no image */
export async function decodeHeader(file: string, limits: ImageLimits = IMAGE_LIMITS): Promise<ImageHeader> {
  const { bytes } = await readImage(file, limits);
  try {
    const { width, height, orientation = 1 } = await sharp(bytes, { limitInputPixels: false }).metadata();
    return { width, height, orientation };
  } catch (error) {
    throw new UserError(`damaged or unreadable image: ${messageOf(error).split('\n')[0]!}`, { where: file });
  }
}

/** RGBA composited on white, in the integer arithmetic of the reference's decoder (Pillow's `alpha_composite`). */
function onWhite(rgba: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let source = 0, target = 0; source < rgba.length; source += 4) {
    const alpha = rgba[source + 3]!;
    for (let channel = 0; channel < 3; channel++) {
      const mixed = 128 * (rgba[source + channel]! * alpha + 255 * (255 - alpha)) + 0x4000;
      rgb[target++] = ((mixed >> 8) + mixed) >> 15;
    }
  }
  return rgb;
}

/** CMYK to RGB as Pillow does it, with no profile: (255 - K)(255 - C) / 255, in its integer arithmetic. */
function fromInks(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let source = 0, target = 0; source < cmyk.length; source += 4) {
    const light = 255 - cmyk[source + 3]!;
    for (let ink = 0; ink < 3; ink++) {
      const product = cmyk[source + ink]! * light + 128;
      rgb[target++] = light - (((product >> 8) + product) >> 8);
    }
  }
  return rgb;
}

/** @throws UserError where an image of that size is not read */
export function checkSize({ width, height }: { width: number; height: number }, limits: ImageLimits): void {
  const size = `${width} x ${height} pixels`;
  if (width * height > limits.maxPixels) {
    throw new UserError(`image of ${size} is too large`, {
      remedy: `Scale it to at most ${limits.maxPixels} pixels, or raise data.maxImagePixels.`,
    });
  }
  if (Math.min(width, height) < limits.minSide) {
    throw new UserError(`image of ${size} is too small`, {
      remedy: `Both sides need ${limits.minSide} pixels or more.`,
    });
  }
  if (Math.max(width, height) / Math.min(width, height) > limits.maxAspect) {
    throw new UserError(`image of ${size} is too long`, {
      remedy: `Sides may differ by a factor of ${limits.maxAspect}.`,
    });
  }
}

/** Bytes a pixel of the largest image that a decoder may hold at once. */
const HELD = 4;

/**
 * Rows of an interlaced PNG, or of a progressive JPEG, come out when all is read: a file of a few kilobytes may stand for
 * all pixels, or all coefficients, of 16 bits.
 * @throws UserError where that is more than an image of the largest size takes
 */
function checkPasses({ format, isProgressive, width, height, channels, depth }: Metadata, limits: ImageLimits): void {
  if (!isProgressive || !['png', 'jpeg'].includes(format)) return;
  const bytes = width * height * channels * (format === 'jpeg' || depth === 'ushort' ? 2 : 1);
  if (bytes <= HELD * limits.maxPixels) return;
  const size = `${width} x ${height} pixels`;
  throw new UserError(`image of ${size} is too large for one that is stored in passes (interlaced or progressive)`, {
    remedy: 'Store it row by row, scale it, or raise data.maxImagePixels.',
  });
}

/** What an image file holds, and its size and date when it was opened. */
export interface ImageBytes {
  readonly bytes: Buffer;
  readonly size: number;
  readonly mtimeMs: number;
}

/** @throws UserError that names the file, where it is none, is too large, or holds no image of a known format */
export async function readImage(file: string, limits: ImageLimits): Promise<ImageBytes> {
  try {
    await using handle = await openFile(file);
    const { size, mtimeMs } = await handle.stat();
    requireSmall(size, file, limits);
    const bytes = await readWhole(handle, size);
    requireImage(bytes, file, limits);
    return { bytes, size, mtimeMs };
  } catch (error) {
    if (error instanceof UserError) throw error;
    // A picture in the text is no name that a file could have.
    if (['ENOENT', 'ENAMETOOLONG'].some((code) => hasCode(error, code)))
      throw missingFile(file, 'image file not found');
    const known = fileError(error, { where: file });
    throw known instanceof UserError ? known : new UserError(messageOf(error), { where: file });
  }
}

function requireSmall(size: number, where: string, { maxBytes }: ImageLimits): void {
  if (size <= maxBytes) return;
  throw new UserError(`image file of ${size} bytes is too large (limit ${maxBytes})`, { where });
}

export const HEIC_REMEDY = 'Convert it: heif-convert a.heic a.jpg; on a Mac: sips -s format jpeg a.heic --out a.jpg.';

/** @throws UserError where bytes are not those of an image of a known format */
export function requireImage(bytes: Buffer, where: string, limits: ImageLimits): void {
  requireSmall(bytes.length, where, limits);
  if (bytes.length === 0) throw new UserError('image file is empty', { where });
  if (isRaster(bytes)) return;
  if (/^ftyp(?:hei|hev)/.test(bytes.toString('latin1', 4, 12))) {
    throw new UserError('is HEIC, as phones store photographs, which is not read', { where, remedy: HEIC_REMEDY });
  }
  throw new UserError('not an image in a supported format', {
    where,
    remedy: 'Convert it to PNG, JPEG, WebP, GIF, TIFF or AVIF.',
  });
}

/** Whether the first bytes are those of a picture, whatever the file is called. */
function isRaster(bytes: Buffer): boolean {
  const head = bytes.toString('latin1', 0, 16);
  return (
    head.startsWith('\x89PNG\r\n\x1a\n') ||
    head.startsWith('\xff\xd8\xff') ||
    head.startsWith('GIF8') ||
    head.startsWith('II*\0') ||
    head.startsWith('MM\0*') ||
    (head.startsWith('RIFF') && head.slice(8, 12) === 'WEBP') ||
    (head.slice(4, 8) === 'ftyp' && /^avi[fs]|^mif1|^msf1/.test(head.slice(8, 12)))
  );
}
