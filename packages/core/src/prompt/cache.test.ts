import { expect, test } from 'vitest';
import { ImageCache, type PreparedImage } from './cache.ts';

test('the least recently used image goes first', async () => {
  const prepared: string[] = [];
  const prepare = (file: string): Promise<PreparedImage> => {
    prepared.push(file);
    return Promise.resolve({
      pixels: { data: new Uint8Array(10), width: 1, height: 1 },
      shown: { size: { width: 1, height: 1 }, grid: [1, 1, 1], tokens: 1 },
      originalWidth: 1,
      originalHeight: 1,
    });
  };
  const cache = new ImageCache(25);
  for (const file of ['a', 'b', 'a', 'c', 'a', 'b']) await cache.get(file, prepare);
  expect(prepared).toEqual(['a', 'b', 'c', 'b']);
});
