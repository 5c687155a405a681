/** A picture with what an answer points at, at its own size, upright. */
import path from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { makeDirectory } from '../disk/durable.ts';
import { readImage, IMAGE_LIMITS } from '../prompt/decode.ts';
import { clip } from '../tasks/grounding/geometry.ts';
import type { Box, Point } from '../types.ts';

interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Marks {
  readonly boxes: readonly Box[];
  readonly points: readonly Point[];
}

/** The name of a drawing: JPEG stays JPEG, everything else becomes PNG, which loses nothing. */
export const drawingName = (image: string): string =>
  /\.jpe?g$/i.test(image) ? image : `${image.slice(0, image.length - path.extname(image).length)}.png`;

export async function drawPicture(image: string, target: string, marks: Marks): Promise<void> {
  const { bytes } = await readImage(image, IMAGE_LIMITS);
  const picture = sharp(bytes, { limitInputPixels: IMAGE_LIMITS.maxPixels });
  const { autoOrient: size } = await picture.metadata();
  const drawn = picture.autoOrient().composite([{ input: Buffer.from(overlay(marks, size)), top: 0, left: 0 }]);
  makeDirectory(path.dirname(target));
  await encoded(drawn, target).toFile(target);
}

const encoded = (picture: Sharp, target: string): Sharp =>
  target.endsWith('.png') ? picture.png() : picture.jpeg({ quality: 92 });

/** Lines that are seen on light and on dark: a dark one below a bright one. */
function overlay({ boxes, points }: Marks, size: Size): string {
  const width = Math.max(1, Math.round(Math.max(size.width, size.height) / 400));
  const rectangles = boxes.map((box) => {
    const [x0, y0, x1, y1] = clip(box, size);
    return `<rect x="${x0}" y="${y0}" width="${Math.max(0, x1 - x0)}" height="${Math.max(0, y1 - y0)}"/>`;
  });
  const circles = points.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="${3 * width}"/>`);
  const shapes = [...rectangles, ...circles].join('');
  const stroke = (color: string, strokeWidth: number): string =>
    `<g fill="none" stroke="${color}" stroke-width="${strokeWidth}">${shapes}</g>`;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}">` +
    `${stroke('#101010', 2 * width)}${stroke('#ff7a1a', width)}</svg>`
  );
}
