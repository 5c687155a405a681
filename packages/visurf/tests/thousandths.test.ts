/** The whole way of a model that speaks of places in thousandths, on pictures larger than it sees: Qwen3-VL's miniature. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { generateDataset } from '@visurf/mini-grounding';
import sharp from 'sharp';
import { expect, test } from 'vitest';

import { root, temporaryFolder, visurf, visurfJson } from './cli.ts';

const base = join(root, 'recipes/mini/base-qwen3');
const SIDE = 112;
const LARGER = 2;

interface Line {
  readonly id: string;
  readonly image: string;
  readonly problem: string;
  readonly solution: { readonly bbox_2d: number[] }[];
}

const linesIn = <T>(file: string): T[] =>
  readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T);

/** The set, in pictures twice as large. */
async function enlarge(folder: string, file: string): Promise<void> {
  const lines = linesIn<Line>(join(folder, file));
  for (const image of new Set(lines.map((line) => line.image))) {
    const small = await sharp(join(folder, image)).toBuffer();
    const size = LARGER * SIDE;
    writeFileSync(join(folder, image), await sharp(small).resize(size, size, { kernel: 'nearest' }).png().toBuffer());
  }
  const scaled = lines.map((line) => ({
    ...line,
    solution: line.solution.map(({ bbox_2d }) => ({ bbox_2d: bbox_2d.map((each) => LARGER * each) })),
  }));
  writeFileSync(join(folder, file), scaled.map((line) => `${JSON.stringify(line)}\n`).join(''));
}

function overlap([a, b, c, d]: number[], [e, f, g, h]: number[]): number {
  const [width, height] = [Math.min(c!, g!) - Math.max(a!, e!), Math.min(d!, h!) - Math.max(b!, f!)];
  const shared = Math.max(0, width) * Math.max(0, height);
  return shared / ((c! - a!) * (d! - b!) + (g! - e!) * (h! - f!) - shared);
}

const steps = (run: string): number =>
  linesIn<{ type: string }>(join(run, 'events.jsonl')).filter(({ type }) => type === 'step').length;

test('trained, stopped, resumed, evaluated, asked and exported, in pixels of the original pictures', async () => {
  const folder = temporaryFolder();
  const images = { train: 16, validation: 2, test: 8 };
  await generateDataset(folder, { seed: 5, images });
  for (const file of ['train.jsonl', 'validation.jsonl', 'test.jsonl']) await enlarge(folder, file);
  const config = join(folder, 'config.yaml');
  const settings =
    `model: ${base}\noutput: run\nparadigm: visurf\nsteps: 6\npromptsPerStep: 8\ntask: { boxError: ${3 * LARGER} }\n` +
    'data: { train: train.jsonl, validation: validation.jsonl }\nrollout: { group: 4, maxNewTokens: 40 }\n' +
    'optimizer: { learningRate: 3.0e-4 }\neval: { every: 0 }\ncheckpoint: { every: 3, keep: 2 }\n';
  writeFileSync(config, settings);
  const run = join(folder, 'run');
  expect((await visurf('train', config, 'steps=3')).code).toBe(0);
  expect((await visurf('train', config, '--resume')).code).toBe(0);
  expect(steps(run)).toBe(6);

  const model = join(run, 'last');
  const data = join(folder, 'test.jsonl');
  const absent = linesIn<Line>(data).find(({ solution }) => solution.length === 0)!;
  const question = ['--image', join(folder, absent.image), '--prompt', `find ${absent.problem}`] as const;
  const [before, after] = await Promise.all(
    [base, model].map((each) =>
      visurfJson<{ total: number }>('score', '--model', each, ...question, '--response', '[]'),
    ),
  );
  // The base never says that something is not there; labels do.
  expect(after!.total).toBeGreaterThan(before!.total);

  const evaluated = await visurfJson<{ metrics: Record<string, number> }>('eval', '--model', model, '--data', data);
  expect(evaluated.metrics['presentIoU']).toBeGreaterThan(30);
  const answers = join(folder, 'answers.jsonl');
  await visurfJson('predict', '--model', model, '--data', data, '--output', answers);
  const truth = new Map(linesIn<Line>(data).map(({ id, solution }) => [id, solution]));
  const found = linesIn<{ id: string; boxes: number[][] }>(answers).flatMap(({ id, boxes }) => {
    const [box] = truth.get(id)!;
    return box && boxes[0] ? [overlap(boxes[0], box.bbox_2d)] : [];
  });
  expect(found.reduce((sum, each) => sum + each, 0) / found.length).toBeGreaterThan(0.3);

  const exported = join(folder, 'exported');
  await visurfJson('export', '--model', model, '--output', exported);
  const texts = await Promise.all(
    [model, exported].map((each) =>
      visurfJson<{ text: string }>('generate', '--model', each, ...question, '--max-new-tokens', '40'),
    ),
  );
  expect(texts[0]).toEqual(texts[1]);
});
