/** Masks that are pictures, and sizes of pictures. */
import sharp from 'sharp';
import { messageOf, UserError } from '../errors.ts';
import { decodeImage } from '../prompt/decode.ts';
import { emptyMask, type Mask } from '../masks/masks.ts';

/** What is not black is inside. @throws UserError where the picture cannot be read */
export async function readMask(file: string): Promise<Mask> {
  const { data, width, height } = await decodeImage(file);
  const mask = emptyMask(width, height);
  for (let i = 0; i < mask.data.length; i++) {
    mask.data[i] = Number(data[3 * i]! > 0 || data[3 * i + 1]! > 0 || data[3 * i + 2]! > 0);
  }
  return mask;
}

/** As a viewer shows the picture. @param where a file, or what says where bytes are from @throws UserError where it cannot be read */
export async function sizeOf(
  picture: string | Uint8Array,
  where = String(picture),
): Promise<{ readonly width: number; readonly height: number }> {
  try {
    const { autoOrient } = await sharp(picture).metadata();
    return autoOrient;
  } catch (error) {
    throw new UserError(`damaged or unreadable image: ${messageOf(error)}`, {
      where,
      remedy: 'Download it again.',
    });
  }
}
