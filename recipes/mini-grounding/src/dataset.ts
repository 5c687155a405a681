/** Scenes as a dataset: PNG files and one JSONL file per split, each image with a question that something matches and one that nothing does. */
import { DatasetFiles, imagePath, type Drawn, type FileOptions } from './files.ts';
import { Random } from './random.ts';
import { drawAbsent, drawScene, render, type Corners, type Kind } from './scenes.ts';

export type Split = 'train' | 'validation' | 'test';

export interface DatasetOptions extends FileOptions {
  /** Seed of all scenes. Splits never share a scene, nor does the base model's pretraining. */
  readonly seed: number;
  /** Images of each split. */
  readonly images: Readonly<Record<Split, number>>;
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

/** The same seed gives the same bytes of pixels. @returns the path of every split's file */
export async function generateDataset(directory: string, options: DatasetOptions): Promise<Record<Split, string>> {
  const { images, seed } = options;
  const files = new DatasetFiles(directory, images.train + images.validation + images.test, options);
  const write = (split: Split): Promise<string> =>
    files.write(split, images[split], (number) => drawLines(split, seed, number));
  return { train: await write('train'), validation: await write('validation'), test: await write('test') };
}

function drawLines(split: Split, seed: number, number: number): Drawn<Line> {
  const random = new Random(`${split}/${seed}/${number}`);
  const scene = drawScene(random);
  const object = random.pick(scene);
  const absent = drawAbsent(scene, random);
  const name = `${split}-${String(number).padStart(5, '0')}`;
  const image = imagePath(name);
  const line = (kind: Line['kind'], asked: Kind, boxes: readonly Corners[]): Line => ({
    id: `${name}-${kind}`,
    image,
    problem: `${asked.color} ${asked.shape}`,
    solution: boxes.map((box) => ({ bbox_2d: box })),
    task: 'grounding',
    prompt: 'find {Question}',
    kind,
  });
  const lines = [line('present', object, [object.box]), line('absent', absent, [])];
  return { name, pixels: render(scene, random), lines };
}
