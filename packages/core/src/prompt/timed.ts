/** Videos whose temporal patches stand in the prompt like images, each behind the second at which it is seen. */
import { UserError } from '../errors.ts';
import { roundHalfToEven } from './resize.ts';
import type { Piece } from './tokenizer.ts';

/** One decimal, as Python writes it: a tie goes to the even digit. */
export function tenths(seconds: number): string {
  const isTie = Number.isInteger(seconds * 4) && !Number.isInteger(seconds * 2);
  return (isTie ? roundHalfToEven(seconds * 10) / 10 : seconds).toFixed(1);
}

/**
 * The middle of every temporal patch of `frames` frames, in seconds: of its first frame and its last, for which the last
 * one of the video stands where it ends before.
 */
export function timesOf(frames: number, fps: number, temporalPatchSize: number): number[] {
  const at = (frame: number): number => Math.min(frame, frames - 1) / fps;
  const patches = Math.ceil(frames / temporalPatchSize);
  return Array.from({ length: patches }, (_, i) => {
    const first = i * temporalPatchSize;
    return (at(first) + at(first + temporalPatchSize - 1)) / 2;
  });
}

interface Tokens {
  readonly start: string;
  /** The placeholder. */
  readonly video: string;
  readonly end: string;
}

/**
 * Pieces in which the placeholder of each video has become one placeholder per temporal patch, between the control tokens
 * of a picture and behind its time.
 * @param times of the videos, in order
 * @throws UserError unless there is one placeholder per video
 */
export function withTimes(
  pieces: readonly Piece[],
  times: readonly (readonly number[])[],
  { start, video, end }: Tokens,
  where?: string,
): Piece[] {
  let found = 0;
  const expanded = pieces.map((piece) => {
    if (!piece.control) return piece;
    const text = piece.text.replaceAll(video, () =>
      (times[found++] ?? []).map((each) => `<${tenths(each)} seconds>${start}${video}${end}`).join(''),
    );
    return { ...piece, text };
  });
  if (found === times.length) return expanded;
  throw new UserError(`the chat template has ${found} video placeholders for ${times.length} videos`, {
    where,
    remedy: 'The chat template must write one video placeholder per video part.',
  });
}
