import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, expect, test } from 'vitest';
import { Elsewhere } from './elsewhere.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'studio-elsewhere-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('pictures by the ids of their samples, small, and nothing else', async () => {
  const root = path.join(folder, 'pictures');
  mkdirSync(path.join(root, 'deep'), { recursive: true });
  const made = sharp({ create: { width: 2000, height: 1000, channels: 3, background: '#123456' } });
  await made.jpeg().toFile(path.join(root, 'deep', 'street-07.jpg'));
  writeFileSync(path.join(root, 'broken.png'), 'no picture');
  writeFileSync(path.join(folder, 'secret.png'), 'secret');
  symlinkSync(path.join(folder, 'secret.png'), path.join(root, 'link.png'));
  const elsewhere = new Elsewhere(root);
  for (const id of ['street-07', 'street-07-car', 'street-07/2']) {
    const { width, height, format } = await sharp(await elsewhere.picture(id)).metadata();
    expect({ width, height, format }).toEqual({ width: 640, height: 320, format: 'webp' });
  }
  for (const id of ['street-0', 'street-071', 'broken', 'link', '../secret', '', 'none'])
    expect(await elsewhere.picture(id), id).toBeUndefined();
  expect(() => new Elsewhere(path.join(folder, 'none'))).toThrow('there is no such folder');
});
