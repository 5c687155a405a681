/** Pictures inside the page: read like the model's input (rotation applied, damaged files refused), scaled if large. */
import sharp from 'sharp';
import { decodeImage } from '../prompt/decode.ts';

export interface Picture {
  /** `data:` URL. */
  readonly url: string;
  /** Size of the original, whose pixels boxes are given in. */
  readonly width: number;
  readonly height: number;
}

/** Longer side in pixels of what is embedded. */
const MOST_SIDE = 640;

/** Small pictures are embedded without loss, others as JPEG. */
export async function embedPicture(file: string): Promise<Picture> {
  const { data, width, height } = await decodeImage(file);
  const image = sharp(data, { raw: { width, height, channels: 3 } });
  const small = Math.max(width, height) <= MOST_SIDE / 2;
  const bytes = small
    ? await image.png().toBuffer()
    : await image
        .resize({ width: MOST_SIDE, height: MOST_SIDE, fit: 'inside', withoutEnlargement: true })
        .jpeg({ quality: 85 })
        .toBuffer();
  return { url: `data:image/${small ? 'png' : 'jpeg'};base64,${bytes.toString('base64')}`, width, height };
}
