/** Where the images and videos of a question stand: at its `<image>` and `<video>`, or before the text where it has none. */
import { UserError } from '../errors.ts';
import type { Clip } from '../types.ts';
import type { ImageSource, Part } from './template.ts';

const PLACES = { image: '<image>', video: '<video>' } as const;
const PLACE = /(<image>|<video>)/;

type Kind = keyof typeof PLACES;

const countPlaces = (text: string, kind: Kind): number => text.split(PLACES[kind]).length - 1;

/** What is wrong with the places of a text that has some, if anything. */
export function placeFault(text: string, images: number, videos = 0): string | undefined {
  for (const [kind, count] of [
    ['image', images],
    ['video', videos],
  ] as const) {
    const places = countPlaces(text, kind);
    if (places === 0 || places === count) continue;
    return `the question has ${places} ${PLACES[kind]} for ${count} ${kind}${count === 1 ? '' : 's'}`;
  }
  return undefined;
}

/** The text without its places, where all of them come first: images, then videos do so anyway. */
export function withoutLeadingPlaces(text: string): string {
  const rest = text.replace(/^(?:\s*<image>)*(?:\s*<video>)*\s*/, '');
  return rest.length < text.length && PLACE.test(text) && !PLACE.test(rest) ? rest : text;
}

/**
 * Parts of a user turn.
 * @throws UserError where the text has places, and not one for every image, or video
 */
export function placeVisuals(
  text: string,
  images: readonly ImageSource[],
  videos: readonly Clip[] = [],
  where?: string,
): Part[] {
  const fault = placeFault(text, images.length, videos.length);
  if (fault !== undefined) {
    const remedy =
      'Write one <image> for every image and one <video> for every video, or none: they then come before the text.';
    throw new UserError(fault, { where, remedy });
  }
  const parts: Record<Kind, Part[]> = {
    image: images.map((image) => ({ type: 'image', image })),
    video: videos.map((clip) => ({ type: 'video', ...clip })),
  };
  const first = (['image', 'video'] as const).flatMap((kind) => (countPlaces(text, kind) === 0 ? parts[kind] : []));
  if (!PLACE.test(text)) return [...first, { type: 'text', text }];
  const left = { image: parts.image.values(), video: parts.video.values() };
  const placed = text.split(PLACE).flatMap((each): Part[] => {
    if (each === PLACES.image) return [left.image.next().value!];
    if (each === PLACES.video) return [left.video.next().value!];
    return each === '' ? [] : [{ type: 'text', text: each }];
  });
  return [...first, ...placed];
}
