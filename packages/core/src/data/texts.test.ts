import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Numbers, Texts } from './texts.ts';

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', 'a', '\ud800', '\udc00', '\0', '\0"a"'));

test('texts have the numbers that a map would give them, and come back as they were', () => {
  fc.assert(
    fc.property(fc.array(text, { maxLength: 200 }), (all) => {
      const texts = new Texts();
      const numbers = new Map<string, number>();
      for (const each of all) {
        if (!numbers.has(each)) numbers.set(each, numbers.size);
        expect(texts.add(each)).toBe(numbers.get(each));
      }
      expect(texts.size).toBe(numbers.size);
      for (const [each, number] of numbers) {
        expect(texts.at(number)).toBe(each);
        expect(texts.find(each)).toBe(number);
      }
      expect(texts.find('nothing like it')).toBeUndefined();
    }),
  );
});

test('half a million texts take what their bytes take', () => {
  const texts = new Texts();
  const numbers = new Numbers();
  for (let i = 0; i < 500_000; i++) numbers.push(texts.add(`picture ${i % 250_000}.png`));
  expect([texts.size, numbers.size, numbers.values[400_000]]).toEqual([250_000, 500_000, 150_000]);
});
