import { mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { decodeImage, IMAGE_LIMITS } from './decode.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'visurf-decode-'));

function write(name: string, bytes: Uint8Array | string): string {
  const file = path.join(directory, name);
  writeFileSync(file, bytes);
  return file;
}

const noise = Buffer.from(Uint8Array.from({ length: 40 * 30 * 3 }, (_, i) => (i * 7919) % 251));
const picture = () => sharp(noise, { raw: { width: 40, height: 30, channels: 3 } });
const png = await picture().png().toBuffer();
const jpeg = await picture().jpeg().toBuffer();

test('pixels come back as they were written', async () => {
  const { data, width, height } = await decodeImage(write('a.png', png));
  expect([width, height]).toEqual([40, 30]);
  expect(Buffer.from(data).equals(noise)).toBe(true);
});

test('rotation of the camera is applied', async () => {
  const rotated = await picture().jpeg().withMetadata({ orientation: 6 }).toBuffer();
  expect(await decodeImage(write('rotated.jpg', rotated))).toMatchObject({ width: 30, height: 40 });
});

test('transparency shows white; grey becomes three channels', async () => {
  const clear = await sharp({ create: { width: 8, height: 8, channels: 4, background: '#00000000' } })
    .png()
    .toBuffer();
  expect((await decodeImage(write('clear.png', clear))).data.every((value) => value === 255)).toBe(true);
  const grey = await picture().greyscale().png().toBuffer();
  expect((await decodeImage(write('grey.png', grey))).data.length).toBe(40 * 30 * 3);
});

test.each([
  ['missing.png', undefined, 'image file not found'],
  ['empty.png', '', 'image file is empty'],
  ['text.png', 'hello', 'not an image in a supported format'],
  ['a.svg', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 'not an image in a supported format'],
  ['cut.png', png.subarray(0, png.length - 40), 'damaged or unreadable image'],
  ['half.png', png.subarray(0, png.length / 2), 'damaged or unreadable image'],
  ['cut.jpg', jpeg.subarray(0, jpeg.length / 2), 'damaged or unreadable image'],
  ['dot.png', await blank(1, 1), 'image of 1 x 1 pixels is too small'],
  ['line.png', await blank(2000, 4), 'image of 2000 x 4 pixels is too long'],
  ['huge.png', hugePng(), 'image of 50000 x 50000 pixels is too large'],
])('%s is refused', async (name, bytes, message) => {
  const file = bytes === undefined ? path.join(directory, name) : write(name, bytes);
  await expect(decodeImage(file)).rejects.toThrow(`${file}: ${message}`);
  await expect(decodeImage(file)).rejects.toBeInstanceOf(UserError);
});

test('a damaged file decodes, or is refused with a UserError', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(png.length - 1), fc.nat(255), async (at, value) => {
      const damaged = Buffer.from(png);
      damaged[at] = value;
      await decodeImage(write('damaged.png', damaged)).catch((error: unknown) => {
        expect(error).toBeInstanceOf(UserError);
      });
    }),
    { numRuns: 50 },
  );
});

function blank(width: number, height: number): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: '#123456' } })
    .png()
    .toBuffer();
}

/** A small PNG whose header claims 50,000 x 50,000 pixels, with the right checksum. */
function hugePng(): Buffer {
  const bytes = Buffer.from(png);
  bytes.writeUInt32BE(50_000, 16);
  bytes.writeUInt32BE(50_000, 20);
  bytes.writeUInt32BE(crc32(bytes.subarray(12, 29)), 29);
  return bytes;
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  'a large image is decoded at a reduced size, turned as its EXIF says: %i',
  async (orientation) => {
    // Light from the left, and from the top by half as much: every turn looks different.
    const gradient = Buffer.from(
      Uint8Array.from({ length: 240 * 160 * 3 }, (_, i) => Math.floor(((i / 3) % 240) / 2 + Math.floor(i / 720) / 4)),
    );
    const image = sharp(gradient, { raw: { width: 240, height: 160, channels: 3 } });
    const file = write(`large-${orientation}.png`, await image.png().withMetadata({ orientation }).toBuffer());
    const whole = await decodeImage(file);
    const small = await decodeImage(file, { ...IMAGE_LIMITS, reducedFrom: 9600 });
    expect(small.full).toEqual({ width: whole.width, height: whole.height });
    expect(whole.full).toEqual(small.full);
    expect([small.width * 2, small.height * 2]).toEqual([whole.width, whole.height]);
    for (const [x, y] of [
      [4, 4],
      [60, 10],
      [10, 60],
      [70, 70],
    ] as const) {
      const near = whole.data[(2 * y * whole.width + 2 * x) * 3]!;
      expect(Math.abs(small.data[(y * small.width + x) * 3]! - near)).toBeLessThan(4);
    }
  },
);

test('a few bytes that are a hundred million pixels take no memory of that size', async () => {
  const blank = sharp({
    create: { width: 10_000, height: 10_000, channels: 3, background: '#123456' },
    limitInputPixels: false,
  });
  const file = write('bomb.png', await blank.png({ compressionLevel: 9, palette: true }).toBuffer());
  const before = process.memoryUsage().rss;
  let peak = 0;
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 5);
  const { full, width, height, data } = await decodeImage(file);
  clearInterval(watch);
  expect(full).toEqual({ width: 10_000, height: 10_000 });
  expect(width * height).toBeLessThanOrEqual(IMAGE_LIMITS.reducedFrom);
  expect([...data.subarray(0, 3)]).toEqual([0x12, 0x34, 0x56]);
  expect(peak - before).toBeLessThan(250e6);
});

test('a few bytes that stand for pixels which come out all at once are refused by their header', async () => {
  // Chunks up to the pixels, of 10,000 x 9,999 in 16 bits and seven passes.
  const header = Buffer.alloc(13);
  header.writeUInt32BE(10_000, 0);
  header.writeUInt32BE(9_999, 4);
  header.set([16, 6, 0, 0, 1], 8);
  const chunk = (type: string, data: Buffer): Buffer => {
    const [size, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    size.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(Buffer.concat([Buffer.from(type), data])));
    return Buffer.concat([size, Buffer.from(type), data, sum]);
  };
  const rows = deflateSync(Buffer.alloc(1000));
  const png = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), chunk('IDAT', rows)]);
  const file = write('passes.png', png);
  await expect(decodeImage(file)).rejects.toThrow(/10000 x 9999 pixels is too large for one that is stored in passes/);
  const limits = { ...IMAGE_LIMITS, maxPixels: 1e9 };
  await expect(decodeImage(file, limits)).rejects.toThrow('damaged');
  const small = await sharp({ create: { width: 64, height: 48, channels: 4, background: 'red' } })
    .png({ progressive: true })
    .toBuffer();
  expect((await decodeImage(write('few.png', small))).full).toEqual({ width: 64, height: 48 });
});

test('what the system says of a file is said in words', async () => {
  const loop = path.join(directory, 'loop.png');
  symlinkSync(loop, loop);
  await expect(decodeImage(loop)).rejects.toThrow(new UserError('a link leads to itself', { where: loop }).message);
});
