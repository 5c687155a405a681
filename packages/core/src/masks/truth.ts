/**
 * The mask of a sample, its field `mask`: COCO run lengths, compressed or not, or polygons (lists of x, y, x, y, ..), filled as
 * COCO does; or a list of any of these, of which what they cover together counts. In pixels of the upright picture.
 */
import { z } from 'zod';
import { UserError } from '../errors.ts';
import { addRuns, decodeCounts, emptyMask, type Mask } from './masks.ts';
import { addCocoPolygon } from './polygons.ts';

const count = z.int().nonnegative();
const runs = z.object({ size: z.tuple([count, count]), counts: z.union([z.string(), z.array(count)]) });
const polygon = z.array(z.number()).min(6);
const maskSchema = z.union([runs, polygon, z.array(z.union([runs, polygon]))]);

/** @throws UserError where it is neither, or of another size than the picture */
export function readTruthMask(value: unknown, { width, height }: { width: number; height: number }): Mask {
  const { success, data } = maskSchema.safeParse(value);
  if (!success) {
    throw new UserError('"mask" is neither run lengths nor polygons', {
      remedy: 'write {"size": [height, width], "counts": ...} as COCO does, or [[x, y, x, y, x, y, ...], ...]',
    });
  }
  const mask = emptyMask(width, height);
  const parts = Array.isArray(data) ? (typeof data[0] === 'number' ? [data as number[]] : data) : [data];
  for (const part of parts) {
    if (Array.isArray(part)) addCocoPolygon(mask, part);
    else if (typeof part === 'object') {
      const [rows, columns] = part.size;
      if (rows !== height || columns !== width) {
        throw new UserError(`"mask" is of ${columns} x ${rows} pixels, the picture of ${width} x ${height}`);
      }
      addRuns(mask, typeof part.counts === 'string' ? decodeCounts(part.counts) : part.counts);
    }
  }
  return mask;
}
