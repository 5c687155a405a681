import fc from 'fast-check';
import { expect, test } from 'vitest';
import { placeFault, placeVisuals, withoutLeadingPlaces } from './places.ts';

const text = (value: string) => ({ type: 'text', text: value });
const image = (file: string) => ({ type: 'image', image: file });
const clip = { video: ['f', 'g'], fps: 2 };
const video = { type: 'video', ...clip };

test('images stand at their places, also between texts', () => {
  expect(placeVisuals('compare <image> with <image>.', ['a', 'b'])).toEqual([
    text('compare '),
    image('a'),
    text(' with '),
    image('b'),
    text('.'),
  ]);
  expect(placeVisuals('<image>what<image>', ['a', 'b'])).toEqual([image('a'), text('what'), image('b')]);
});

test('without places they come first', () => {
  expect(placeVisuals('what?', ['a', 'b'])).toEqual([image('a'), image('b'), text('what?')]);
  expect(placeVisuals('', ['a'])).toEqual([image('a'), text('')]);
});

test('places that all come first are where images are anyway', () => {
  expect(withoutLeadingPlaces('<image>\nfind the car')).toBe('find the car');
  expect(withoutLeadingPlaces(' <image> <image>compare')).toBe('compare');
  expect(withoutLeadingPlaces('<image> or <image>')).toBe('<image> or <image>');
  expect(withoutLeadingPlaces('find <images>')).toBe('find <images>');
});

test('videos stand at theirs, and those of a kind without places come first', () => {
  expect(placeVisuals('is <video> like <image>?', ['a'], [clip])).toEqual([
    text('is '),
    video,
    text(' like '),
    image('a'),
    text('?'),
  ]);
  expect(placeVisuals('is it like <image>?', ['a'], [clip])).toEqual([
    video,
    text('is it like '),
    image('a'),
    text('?'),
  ]);
  expect(placeVisuals('what?', ['a'], [clip])).toEqual([image('a'), video, text('what?')]);
  expect(withoutLeadingPlaces('<image><video>\nwhat?')).toBe('what?');
  expect(withoutLeadingPlaces('<video><image>what?')).toBe('<video><image>what?');
  expect(placeFault('<video>', 0, 2)).toBe('the question has 1 <video> for 2 videos');
  expect(placeFault('<video>', 1)).toBe('the question has 1 <video> for 0 videos');
});

test('every image has a place, or none', () => {
  expect(placeFault('<image> and <image>', 1)).toBe('the question has 2 <image> for 1 image');
  expect(placeFault('<image>', 3)).toContain('1 <image> for 3 images');
  expect(() => placeVisuals('<image><image>', ['a'], [], 'train.jsonl:3')).toThrow('train.jsonl:3: the question has 2');
});

test('no word is lost, whatever the text', () => {
  const piece = fc.oneof(fc.constant('<image>'), fc.string());
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const said = pieces.join('');
      const places = said.split('<image>').length - 1;
      const images = Array.from({ length: places || 2 }, (_, i) => `${i}.png`);
      const parts = placeVisuals(said, images);
      expect(parts.flatMap((part) => (part.type === 'image' ? [part.image] : []))).toEqual(images);
      const words = parts.map((part) => (part.type === 'text' ? part.text : places > 0 ? '<image>' : '')).join('');
      expect(words).toBe(said);
    }),
    { numRuns: 1000 },
  );
});
