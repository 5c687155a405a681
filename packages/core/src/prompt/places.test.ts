import fc from 'fast-check';
import { expect, test } from 'vitest';
import { placeFault, placeImages, withoutLeadingPlaces } from './places.ts';

const text = (value: string) => ({ type: 'text', text: value });
const image = (file: string) => ({ type: 'image', image: file });

test('images stand at their places, also between texts', () => {
  expect(placeImages('compare <image> with <image>.', ['a', 'b'])).toEqual([
    text('compare '),
    image('a'),
    text(' with '),
    image('b'),
    text('.'),
  ]);
  expect(placeImages('<image>what<image>', ['a', 'b'])).toEqual([image('a'), text('what'), image('b')]);
});

test('without places they come first', () => {
  expect(placeImages('what?', ['a', 'b'])).toEqual([image('a'), image('b'), text('what?')]);
  expect(placeImages('', ['a'])).toEqual([image('a'), text('')]);
});

test('places that all come first are where images are anyway', () => {
  expect(withoutLeadingPlaces('<image>\nfind the car')).toBe('find the car');
  expect(withoutLeadingPlaces(' <image> <image>compare')).toBe('compare');
  expect(withoutLeadingPlaces('<image> or <image>')).toBe('<image> or <image>');
  expect(withoutLeadingPlaces('find <images>')).toBe('find <images>');
});

test('every image has a place, or none', () => {
  expect(placeFault('<image> and <image>', 1)).toBe('the question has 2 <image> for 1 image');
  expect(placeFault('<image>', 3)).toContain('1 <image> for 3 images');
  expect(() => placeImages('<image><image>', ['a'], 'train.jsonl:3')).toThrow('train.jsonl:3: the question has 2');
});

test('no word is lost, whatever the text', () => {
  const piece = fc.oneof(fc.constant('<image>'), fc.string());
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const said = pieces.join('');
      const places = said.split('<image>').length - 1;
      const images = Array.from({ length: places || 2 }, (_, i) => `${i}.png`);
      const parts = placeImages(said, images);
      expect(parts.flatMap((part) => (part.type === 'image' ? [part.image] : []))).toEqual(images);
      const words = parts.map((part) => (part.type === 'text' ? part.text : places > 0 ? '<image>' : '')).join('');
      expect(words).toBe(said);
    }),
    { numRuns: 1000 },
  );
});
