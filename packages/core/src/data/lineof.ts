/** A sample as a line of our JSONL, for a file in a folder. */
import path from 'node:path';
import type { Sample } from '../types.ts';
import { videoFields } from './videos.ts';

export function lineOf(
  { id, images, videos = [], problem, solution, thinking, task, extra, source }: Sample,
  folder: string,
): string {
  const files = images.map((file) => relativePath(folder, file));
  return JSON.stringify({
    ...(id !== `line-${source.line}` && { id }),
    ...(files.length > 0 && { image: files.length === 1 ? files[0] : files }),
    ...videoFields(videos.map(({ video, fps }) => ({ video: video.map((file) => relativePath(folder, file)), fps }))),
    problem,
    solution: /^[[{]/.test(solution) ? parsed(solution) : solution,
    ...(thinking !== undefined && { thinking }),
    task,
    ...extra,
  });
}

export const relativePath = (folder: string, file: string): string =>
  path.relative(path.resolve(folder), file).split(path.sep).join('/');

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
