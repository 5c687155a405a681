/** Image files of many kinds become the bytes that the reference sees (oracle/formats.py). */
import { expect, test } from 'vitest';
import { imageFiles, readImageFile } from '../testing/parity-inputs.ts';

test.each(imageFiles)('%s', async (name) => {
  const { actual, expected } = await readImageFile(name);
  expect(actual).toEqual(expected);
});
