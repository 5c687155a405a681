/** Masks of a small SAM2 against those of transformers (oracle/sam2.py). */
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  utimesSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { decodeImage } from '../prompt/decode.ts';
import { resizeBilinear } from '../prompt/bilinear.ts';
import { hasLibrary } from '../testing/library.ts';
import { fixtures } from '../testing/oracle.ts';
import type { Box, Point } from '../types.ts';
import type { Numbers } from './exported.ts';
import { decodeRle, overlapOf, type Mask } from './masks.ts';
import { Sam2 } from './sam2.ts';

interface Case {
  readonly image: string;
  readonly size: [number, number];
  readonly objects: { readonly box: Box; readonly points: Point[] }[];
  readonly stretched: { readonly counts: string }[];
  readonly padded: { readonly counts: string }[];
}

const folder = path.join(fixtures, 'sam2');
const cases = JSON.parse(readFileSync(path.join(folder, 'cases.json'), 'utf8')) as Case[];
const temporary = mkdtempSync(path.join(tmpdir(), 'visurf-sam2-'));

/** The export, with the one or the other way to prepare pictures. */
function modelOf(kind: 'stretched' | 'padded'): string {
  const copy = path.join(temporary, kind);
  cpSync(path.join(folder, 'model'), copy, { recursive: true });
  if (kind === 'padded') copyFileSync(path.join(copy, 'padded.json'), path.join(copy, 'preprocessor_config.json'));
  return copy;
}

const overlap = (a: Mask, b: Mask): number => {
  const { intersection, union } = overlapOf(a, b);
  return union === 0 ? 1 : intersection / union;
};

const isInstalled = hasLibrary();

test.each(cases.map(({ image }) => image))('%s is scaled as Pillow scales it', async (image) => {
  const [pixels, expected] = await Promise.all(
    [image, image.replace('.png', '.84.png')].map((name) => decodeImage(path.join(folder, name))),
  );
  expect([...resizeBilinear(pixels!, { width: 84, height: 84 }).data]).toEqual([...expected!.data]);
});

describe.skipIf(!isInstalled)('with @huggingface/transformers, which is optional', () => {
  test.each(['stretched', 'padded'] as const)('same boxes and points, same masks: pictures are %s', async (kind) => {
    const sam2 = await Sam2.open(modelOf(kind), path.join(temporary, `${kind}-embeddings`));
    for (const { image, size, objects, [kind]: expected } of cases) {
      const file = path.join(folder, image);
      const embedded = await sam2.embed(file);
      const truths = expected.map(({ counts }) => decodeRle({ size, counts }));
      for (const [i, object] of objects.entries()) {
        expect(overlap(await sam2.mask(embedded, object), truths[i]!), `${image} ${i}`).toBeGreaterThan(0.99);
      }
      const union = truths.reduce((all, { data }) => all.map((value, i) => value | data[i]!), truths[0]!.data);
      const [height, width] = size;
      expect(overlap(await sam2.union(file, objects), { width, height, data: union })).toBeGreaterThan(0.99);
    }
  });

  test('embeddings are kept, the latest of them, and damaged ones are made anew', async () => {
    const cache = path.join(temporary, 'few');
    const model = modelOf('stretched');
    const files = cases.map(({ image }) => path.join(folder, image));
    const first = await Sam2.open(model, cache);
    const { embeddings } = await first.embed(files[0]!);
    const [name] = readdirSync(cache);
    const kept = path.join(cache, name!);
    const { size } = statSync(kept);
    const plain = (all: Readonly<Record<string, Numbers>>) =>
      Object.entries(all).map(([key, { data, dims }]) => [key, [...data], [...dims]]);
    const read = async () => plain((await (await Sam2.open(model, cache)).embed(files[0]!)).embeddings);
    expect(await read()).toEqual(plain(embeddings));
    truncateSync(kept, size - 4);
    expect(await read()).toEqual(plain(embeddings));
    expect(statSync(kept).size).toBe(size);
    const small = await Sam2.open(model, cache, 2.5 * size);
    utimesSync(kept, 1, 1);
    await small.embed(files[1]!);
    expect(readdirSync(cache)).toHaveLength(2);
    await small.embed(files[2]!);
    expect(readdirSync(cache)).toHaveLength(2);
    expect(readdirSync(cache)).not.toContain(name);
  });

  test('an export of the hub is downloaded once', async () => {
    const asked: string[] = [];
    const server = createServer(({ url = '' }, response) => {
      asked.push(url);
      const file = path.join(folder, 'model', url.replace('/owner/sam2/resolve/main/', ''));
      if (existsSync(file)) response.end(readFileSync(file));
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    vi.stubEnv('HF_ENDPOINT', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    vi.stubEnv('HF_HOME', path.join(temporary, 'hub'));
    onTestFinished(() => void vi.unstubAllEnvs());
    const { image, size, objects, stretched } = cases[1]!;
    const draw = async () => {
      const sam2 = await Sam2.open('owner/sam2', path.join(temporary, 'of-the-hub'));
      return await sam2.mask(await sam2.embed(path.join(folder, image)), objects[0]!);
    };
    expect(overlap(await draw(), decodeRle({ size, counts: stretched[0]!.counts }))).toBeGreaterThan(0.99);
    for (const name of ['vision_encoder', 'prompt_encoder_mask_decoder']) {
      for (const ending of ['onnx', 'onnx_data']) {
        expect(
          asked.some((url) => url.endsWith(`/onnx/${name}.${ending}`)),
          ending,
        ).toBe(true);
      }
    }
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const before = asked.length;
    await draw();
    expect(asked.length).toBe(before);
  });

  test('what is no export is refused with what one is', async () => {
    await expect(Sam2.open(temporary, temporary)).rejects.toThrow(/no SAM2 export that can be used/);
  });
});
