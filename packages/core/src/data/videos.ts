/** Videos of samples: `video`, a list of frames (or a list of such lists, of several videos), and `fps`, frames per second. */
import path from 'node:path';
import type { Clip, Sample } from '../types.ts';

/** Frames of one video that are read. */
const MAX_FRAMES = 4096;

/** What is wrong with a video that is one file. */
export const videoFileFault = (name: string): string =>
  `the video ${name.slice(0, 200)} is a file, which is not opened: extract its frames ` +
  '(ffmpeg -i FILE -vf fps=2 frames/%05d.jpg) and write {"video": [their paths in order], "fps": 2}';

/**
 * The videos that a row has in its fields `video` and `fps`, or what is wrong with them.
 * @param folder that paths are relative to
 */
export function clipsOf(video: unknown, fps: unknown, folder: string): Clip[] | string {
  if (video === undefined || video === null) return [];
  if (typeof video === 'string') return videoFileFault(video);
  const rates = Array.isArray(fps) ? (fps as unknown[]) : undefined;
  const lists: unknown[] = Array.isArray(video) && video.length > 0 && video.every(Array.isArray) ? video : [video];
  if (rates && rates.length !== lists.length) return `${rates.length} numbers of fps for ${lists.length} videos`;
  const clips: Clip[] = [];
  for (const [i, frames] of lists.entries()) {
    const rate: unknown = rates ? rates[i] : fps;
    if (!Array.isArray(frames) || frames.length === 0 || !frames.every((each) => typeof each === 'string' && each)) {
      return 'video must be a list of paths of frames, or a list of such lists';
    }
    if (frames.length > MAX_FRAMES) return `a video of ${frames.length} frames (at most ${MAX_FRAMES})`;
    if (rate === undefined || rate === null)
      return 'missing field fps: how many frames of the video there are per second';
    if (typeof rate !== 'number' || !(rate > 0) || rate > 1000)
      return 'fps must be a number above 0, of frames per second';
    clips.push({ video: (frames as string[]).map((each) => path.resolve(folder, each)), fps: rate });
  }
  return clips;
}

/** The fields of a row for videos. */
export function videoFields(clips: readonly Clip[]): { video?: unknown; fps?: unknown } {
  const [first, ...others] = clips;
  if (!first) return {};
  if (others.length === 0) return { video: first.video, fps: first.fps };
  const isOneRate = others.every(({ fps }) => fps === first.fps);
  return { video: clips.map(({ video }) => video), fps: isOneRate ? first.fps : clips.map(({ fps }) => fps) };
}

/** Files of all images and frames. */
export const filesOf = ({ images, videos }: Pick<Sample, 'images' | 'videos'>): readonly string[] =>
  videos ? [...images, ...videos.flatMap(({ video }) => video)] : images;

/** Frames that stand for a video where all would be too many: evenly spread, the first among them. */
export const someFrames = ({ video }: Clip, most = 8): readonly string[] =>
  video.length <= most ? video : Array.from({ length: most }, (_, i) => video[Math.floor((i * video.length) / most)]!);
