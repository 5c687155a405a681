/** Where the images of a question stand: at its `<image>`, or before the text where it has none. */
import { UserError } from '../errors.ts';
import type { ImageSource, Part } from './template.ts';

const PLACE = '<image>';

const countPlaces = (text: string): number => text.split(PLACE).length - 1;

/** What is wrong with the places of a text that has some, if anything. */
export function placeFault(text: string, images: number): string | undefined {
  const places = countPlaces(text);
  if (places === 0 || places === images) return undefined;
  return `the question has ${places} ${PLACE} for ${images} image${images === 1 ? '' : 's'}`;
}

/** The text without its places, where all of them come first: images do so anyway. */
export function withoutLeadingPlaces(text: string): string {
  const rest = text.replace(/^(?:\s*<image>)+\s*/, '');
  return countPlaces(rest) === 0 ? rest : text;
}

/**
 * Parts of a user turn.
 * @throws UserError where the text has places, and not one for every image
 */
export function placeImages(text: string, images: readonly ImageSource[], where?: string): Part[] {
  const fault = placeFault(text, images.length);
  if (fault !== undefined) {
    const remedy = 'Write one <image> for every image, or none: images then come before the text.';
    throw new UserError(fault, { where, remedy });
  }
  const parts = (texts: readonly string[]): Part[] =>
    texts.flatMap((each, i): Part[] => [
      ...(each === '' ? [] : [{ type: 'text', text: each } as const]),
      ...(i < images.length ? [{ type: 'image', image: images[i]! } as const] : []),
    ]);
  return countPlaces(text) > 0 ? parts(text.split(PLACE)) : [...parts(images.map(() => '')), { type: 'text', text }];
}
