/** Scenes as a dataset: PNG files and one JSONL file per split, each image with a question that something matches and one that nothing does. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import sharp from 'sharp';

import { Random } from './random.ts';
import { drawAbsent, drawScene, render, SIDE, type Corners, type Kind } from './scenes.ts';

export type Split = 'train' | 'validation' | 'test';

export interface DatasetOptions {
  /** Of all scenes. Splits never share a scene, nor does the base model's pretraining. */
  readonly seed: number;
  /** Images of each split. */
  readonly images: Readonly<Record<Split, number>>;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One line of a JSONL file. */
export interface Line {
  readonly id: string;
  readonly image: string;
  readonly problem: string;
  readonly solution: readonly { readonly bbox_2d: Corners }[];
  readonly task: 'grounding';
  /** Template of the user turn: what the miniature was taught to read. */
  readonly prompt: 'find {Question}';
  readonly kind: 'present' | 'absent';
}

/** Images written at the same time. */
const AT_ONCE = 16;

/**
 * Writes `DIRECTORY/SPLIT.jsonl` and `DIRECTORY/images/SPLIT-NNNNN.png`; the same seed gives the same bytes of pixels.
 * A JSONL file appears after its images.
 * @returns the path of every split's file
 */
export async function generateDataset(directory: string, options: DatasetOptions): Promise<Record<Split, string>> {
  const { images, seed, onProgress, signal } = options;
  await mkdir(join(directory, 'images'), { recursive: true });
  const total = images.train + images.validation + images.test;
  let done = 0;
  const write = async (split: Split): Promise<string> => {
    const lines: Line[] = [];
    for (let start = 0; start < images[split]; start += AT_ONCE) {
      signal?.throwIfAborted();
      const numbers = Array.from({ length: Math.min(AT_ONCE, images[split] - start) }, (_, i) => start + i);
      lines.push(...(await Promise.all(numbers.map((number) => writeScene(directory, split, seed, number)))).flat());
      done += numbers.length;
      onProgress?.(done, total);
    }
    const file = join(directory, `${split}.jsonl`);
    await writeFile(`${file}.partial`, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    await rename(`${file}.partial`, file);
    return file;
  };
  return { train: await write('train'), validation: await write('validation'), test: await write('test') };
}

async function writeScene(directory: string, split: Split, seed: number, number: number): Promise<Line[]> {
  const random = new Random(`${split}/${seed}/${number}`);
  const scene = drawScene(random);
  const object = random.pick(scene);
  const absent = drawAbsent(scene, random);
  const name = `${split}-${String(number).padStart(5, '0')}`;
  const image = `images/${name}.png`;
  await sharp(render(scene, random), { raw: { width: SIDE, height: SIDE, channels: 3 } })
    .png({ compressionLevel: 3 })
    .toFile(join(directory, image));
  const line = (kind: Line['kind'], asked: Kind, boxes: readonly Corners[]): Line => ({
    id: `${name}-${kind}`,
    image,
    problem: `${asked.color} ${asked.shape}`,
    solution: boxes.map((box) => ({ bbox_2d: box })),
    task: 'grounding',
    prompt: 'find {Question}',
    kind,
  });
  return [line('present', object, [object.box]), line('absent', absent, [])];
}
