/** Curves and pictures for TensorBoard; W&B takes them from there (`wandb sync`). */
import { existsSync, statSync, truncateSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import type { RunView } from '../run-view.ts';
import type { Followed, Point, Sink } from './follow.ts';
import { EventFile, type Picture } from './tensorboard.ts';

/** Answers of an evaluation that are drawn. */
const PICTURES = 4;

/** Bytes of the file that are whole: what follows was written by a follower that died. */
interface Remembered {
  readonly size: number;
}

export function tensorboard(directory: string): Sink {
  let followed: Followed | undefined;
  let file: EventFile | undefined;
  return {
    open(opened, remembered) {
      followed = opened;
      const folder = path.join(directory, opened.name.replaceAll(/[^\w.-]+/g, '_'));
      file = new EventFile(folder, opened.started);
      const size = (remembered as Remembered | undefined)?.size ?? 0;
      if (existsSync(file.path)) truncateSync(file.path, Math.min(size, statSync(file.path).size));
      if (size === 0) file.begin(opened.started);
      return Promise.resolve({ size: statSync(file.path).size });
    },
    async send(points) {
      if (!file || !followed) throw new Error('the sink is not open');
      for (const point of points) {
        file.scalars(point.step, point.time, point.metrics);
        if (point.isEvaluation)
          for (const [tag, picture] of await picturesOf(followed.run, point))
            file.picture(point.step, point.time, tag, picture);
      }
      return { size: statSync(file.path).size };
    },
  };
}

/** The first answers of an evaluation over their pictures: the truth dashed, the answer in one line. */
async function picturesOf(run: RunView, { step }: Point): Promise<[string, Picture][]> {
  const drawn: [string, Picture][] = [];
  for (const answer of run.answers(step)) {
    const sample = run.sample(answer.id);
    const image = sample?.images[0];
    const file = image?.path === undefined ? undefined : run.picture(path.basename(image.path));
    if (!sample || !image || file === undefined) continue;
    const shapes = [
      ...sample.boxes.map((box) => rectangle(box, 'stroke="#19c3e6" stroke-dasharray="6 3"')),
      ...answer.boxes.map((box) => rectangle(box, 'stroke="#f43f9e"')),
    ];
    const { data: bytes, info } = await sharp(file).toBuffer({ resolveWithObject: true });
    const width = Math.max(image.width, image.height) / 200;
    const overlay = `<svg xmlns="http://www.w3.org/2000/svg" width="${info.width}" height="${info.height}" viewBox="0 0 ${image.width} ${image.height}" fill="none" stroke-width="${width}">${shapes.join('')}</svg>`;
    const png = await sharp(bytes)
      .composite([{ input: Buffer.from(overlay) }])
      .png()
      .toBuffer();
    drawn.push([`answers/${answer.id.replaceAll(/[^\w.-]+/g, '_')}`, { width: info.width, height: info.height, png }]);
    if (drawn.length === PICTURES) break;
  }
  return drawn;
}

function rectangle(corners: readonly number[], style: string): string {
  const [x0, y0, x1, y1] = corners.map(Number) as [number, number, number, number];
  if (![x0, y0, x1, y1].every(Number.isFinite)) return '';
  return `<rect x="${x0}" y="${y0}" width="${Math.max(0, x1 - x0)}" height="${Math.max(0, y1 - y0)}" ${style}/>`;
}
