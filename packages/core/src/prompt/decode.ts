/**
 * Image files to RGB pixels.
 *
 * Decided where the reference leaves it to the caller: EXIF rotation is applied, transparency is composited on white,
 * colour profiles are ignored, an animation gives its first frame. Only raster formats are opened: SVG never is. The
 * header is checked before anything is decoded, and a damaged file is an error, never half a picture.
 */
import { open } from 'node:fs/promises';
import sharp from 'sharp';
import { hasCode, messageOf, UserError } from '../errors.ts';

// The tensor library has the cores; decoded images are cached by us, where it pays.
sharp.concurrency(1);
sharp.cache(false);

export interface ImageLimits {
  /** Bytes of a file. */
  readonly maxBytes: number;
  /** Width times height. */
  readonly maxPixels: number;
  /** Pixels of the shorter side: less shows nothing. */
  readonly minSide: number;
  /** Longer side over shorter side; the reference refuses more. */
  readonly maxAspect: number;
}

export const IMAGE_LIMITS: ImageLimits = { maxBytes: 256 * 2 ** 20, maxPixels: 100e6, minSide: 2, maxAspect: 200 };

/** Pixels of an image, [height, width, 3]. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** @throws UserError that names the file and says what is wrong with it */
export async function decodeImage(file: string, limits: ImageLimits = IMAGE_LIMITS): Promise<Pixels> {
  const bytes = await readImage(file, limits);
  try {
    const metadata = await sharp(bytes, { limitInputPixels: false }).metadata();
    checkSize(metadata, limits);
    const inks = metadata.space === 'cmyk';
    const space = inks ? 'cmyk' : 'srgb';
    const upright = sharp(bytes, {
      limitInputPixels: limits.maxPixels,
      ignoreIcc: true,
      failOn: 'warning',
    }).autoOrient();
    const { data, info } = await (inks ? upright.pipelineColourspace(space) : upright)
      .toColourspace(space)
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    if (inks) return { data: fromInks(data), width, height };
    if (channels === 4) return { data: onWhite(data), width, height };
    if (channels !== 3) throw new UserError(`decodes to ${channels} channels instead of 3`);
    return { data, width, height };
  } catch (error) {
    if (error instanceof UserError) throw new UserError(error.reason, { where: file, remedy: error.remedy });
    const reason = messageOf(error).trim().replaceAll('\n', '; ');
    throw new UserError(`damaged or unreadable image: ${reason}`, {
      where: file,
      remedy: 'It may have been cut off: copy or make it again.',
    });
  }
}

/** What the header of an image says: its size as stored, and its EXIF orientation, 1 to 8. */
export interface ImageHeader {
  readonly width: number;
  readonly height: number;
  readonly orientation: number;
}

/** @throws UserError where the file is missing or is no image */
export async function decodeHeader(file: string, limits: ImageLimits = IMAGE_LIMITS): Promise<ImageHeader> {
  const bytes = await readImage(file, limits);
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

function checkSize({ width, height }: { width: number; height: number }, limits: ImageLimits): void {
  const size = `${width} x ${height} pixels`;
  if (width * height > limits.maxPixels) {
    throw new UserError(`image of ${size} is too large`, { remedy: `Scale it to at most ${limits.maxPixels} pixels.` });
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

async function readImage(file: string, { maxBytes }: ImageLimits): Promise<Buffer> {
  try {
    await using handle = await open(file);
    const stat = await handle.stat();
    if (!stat.isFile()) throw new UserError('is not a file', { where: file });
    if (stat.size > maxBytes) {
      throw new UserError(`image file of ${stat.size} bytes is too large (limit ${maxBytes})`, { where: file });
    }
    const bytes = await handle.readFile();
    if (bytes.length === 0) throw new UserError('image file is empty', { where: file });
    if (!isRaster(bytes)) {
      throw new UserError('not an image in a supported format', {
        where: file,
        remedy: 'Convert it to PNG, JPEG, WebP, GIF, TIFF or AVIF.',
      });
    }
    return bytes;
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(hasCode(error, 'ENOENT') ? 'image file not found' : messageOf(error), { where: file });
  }
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
