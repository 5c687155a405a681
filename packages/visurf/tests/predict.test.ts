/** predict: questions asked as the model was trained, answered in pixels of the pictures as a viewer shows them. */

import {
  appendFileSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { generateDataset, BASE_MODEL } from '@visurf/mini-grounding';
import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import { loadPolicy, predict } from '@visurf/core';
import { expectRefusal, signalAt, temporaryFolder, visurf, visurfJson } from './cli.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll } from 'vitest';

interface Line {
  readonly id?: string;
  readonly image: string;
  readonly problem: string;
  readonly text: string;
  readonly boxes: number[][];
}

const folder = mkdtempSync(join(tmpdir(), 'visurf-predict-'));
const run = join(folder, 'run');
const data = join(folder, 'data/test.jsonl');
const first = join(folder, 'data/images/test-00000.png');
afterAll(() => rmSync(folder, { recursive: true }));

const linesIn = (file: string): Line[] =>
  readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Line); // prettier-ignore

/** A run of one step, whose checkpoint knows how it was asked. */
beforeAll(async () => {
  await generateDataset(join(folder, 'data'), { seed: 3, images: { train: 8, validation: 4, test: 6 } });
  const config =
    `model: ${BASE_MODEL}\noutput: run\nsteps: 2\npromptsPerStep: 2\ntask: { boxError: 3 }\n` +
    `data: { train: data/train.jsonl, validation: data/validation.jsonl, maxPixels: 12544 }\n` +
    `rollout: { group: 2, maxNewTokens: 40 }\neval: { every: 1 }\ncheckpoint: { every: 1, keep: 2 }\n`;
  writeFileSync(join(folder, 'config.yaml'), config);
  const { code, stderr } = await visurf('train', join(folder, 'config.yaml'));
  expect(code, stderr).toBe(0);
}, 120_000);

test('rows are answered in their order as eval answers them, and drawn upright at their own size', async () => {
  const [output, drawn, scored] = ['answers.jsonl', 'drawn', 'scored.jsonl'].map((name) => join(folder, name)) as [string, string, string]; // prettier-ignore
  const said = await visurfJson('predict', '--model', run, '--data', data, '--output', output, '--draw', drawn);
  expect(said).toEqual({ n: 12, output, draw: drawn });
  await visurfJson('eval', '--model', run, '--data', data, '--output', scored);
  const [lines, evaluated] = [linesIn(output), linesIn(scored)];
  expect(lines.map(({ id, text, boxes }) => ({ id, text, boxes }))).toEqual(evaluated.map(({ id, text, boxes }) => ({ id, text, boxes }))); // prettier-ignore
  expect(lines.some(({ boxes }) => boxes.length > 0)).toBe(true);
  expect(Object.keys(lines[0]!)).toEqual(['id', 'image', 'problem', 'text', 'boxes']);
  expect(readdirSync(join(drawn, 'images'))).toHaveLength(12);
  expect(await sharp(join(drawn, 'images/test-00000-2.png')).metadata()).toMatchObject({ width: 112, height: 112 });
});

test('run again, it goes on after the last whole line; what is something else is not written over', async () => {
  const output = join(folder, 'again.jsonl');
  const args = ['predict', '--model', run, '--data', data, '--output', output];
  await visurf(...args);
  const whole = readFileSync(output, 'utf8');
  writeFileSync(output, whole.slice(0, Math.floor(whole.length / 2)));
  const { code, stderr } = await visurf(...args);
  expect([code, readFileSync(output, 'utf8')]).toEqual([0, whole]);
  expect(stderr).toMatch(/[1-9] answers were in .*again.jsonl already/);
  appendFileSync(output, '{"image":"other.png"}\n');
  expectRefusal(await visurf(...args), /again.jsonl:13: is no answer to what is asked/);
  expectRefusal(
    await visurf('predict', '--model', run, '--image', first, '--problem', 'red circle', '--output', output),
    /again.jsonl:1: is no answer to "red circle"/,
  );
});

test('boxes are in pixels of the picture as a viewer shows it, however it is stored and sized', async () => {
  const place = temporaryFolder();
  // Twice as large, which the model is shown at the size of its training.
  const large = await sharp(first).resize(224, 224, { kernel: 'nearest' }).png().toBuffer();
  writeFileSync(join(place, 'large.png'), large);
  // Lying on its side, with a note that says so: what a viewer shows is the same.
  const lying = await sharp(large).rotate(270).png().toBuffer();
  await sharp(lying).withMetadata({ orientation: 6 }).toFile(join(place, 'lying.png'));
  const row = linesIn(data)[0]!;
  const args = ['--problem', row.problem, '--output', join(place, 'out.jsonl'), '--draw', join(place, 'drawn')];
  await visurf('predict', '--model', run, '--images', place, ...args);
  const [upright, turned] = linesIn(join(place, 'out.jsonl'));
  expect([upright!.image, turned!.image]).toEqual([join(place, 'large.png'), join(place, 'lying.png')]);
  expect(upright!.boxes.length).toBeGreaterThan(0);
  expect([turned!.text, turned!.boxes]).toEqual([upright!.text, upright!.boxes]);
  const [, x] = /bbox_2d":\[(\d+)/.exec(upright!.text)!;
  expect(upright!.boxes[0]![0]).toBeCloseTo(2 * Number(x), 5);
  const { autoOrient, orientation } = await sharp(join(place, 'drawn/lying.png')).metadata();
  expect([autoOrient, orientation ?? 1]).toEqual([{ width: 224, height: 224 }, 1]);

  // The library, of the same bytes; `best` and `last` are there.
  for (const name of [run, join(run, 'best'), join(run, 'last')]) {
    using policy = await loadPolicy(name);
    const asked = { problem: row.problem, images: [readFileSync(join(place, 'lying.png'))] };
    const { text, boxes } = await predict(policy, asked);
    if (name === run) expect({ text, boxes }).toEqual({ text: upright!.text, boxes: upright!.boxes });
  }
});

test('a run that was moved answers the same', async () => {
  const place = temporaryFolder();
  cpSync(run, join(place, 'moved'), { recursive: true, verbatimSymlinks: true });
  const args = ['--image', first, '--problem', 'red circle'];
  const { stdout } = await visurf('predict', '--model', run, ...args);
  expect(stdout).toMatch(/^\{"image".*\}\n$/);
  expect((await visurf('predict', '--model', join(place, 'moved'), ...args)).stdout).toBe(stdout);
  rmSync(join(place, 'moved/best'));
  renameSync(join(place, 'moved'), join(place, 'again'));
  expect((await visurf('predict', '--model', join(place, 'again'), ...args)).code).toBe(0);
});

test('what cannot be predicted is named before anything is asked', async () => {
  const place = temporaryFolder();
  mkdirSync(join(place, 'pictures'));
  copyFileSync(first, join(place, 'pictures/good.png'));
  writeFileSync(join(place, 'pictures/bad.png'), 'no picture');
  const model = ['predict', '--model', run];
  const asked = [...model, '--images', join(place, 'pictures'), '--problem', 'red circle'];
  expectRefusal(await visurf(...asked), /bad.png: not an image/, /--skip-bad/);
  const { code, stdout, stderr } = await visurf(...asked, '--skip-bad');
  expect([code, stdout.split('\n').length]).toEqual([0, 2]);
  expect(stderr).toContain('left out');
  expectRefusal(await visurf(...model, '--images', place, '--problem', 'x'), /bad.png/);
  expectRefusal(await visurf(...model, '--images', join(place, 'none'), '--problem', 'x'), /none: no such file/);
  expectRefusal(await visurf(...model, '--image', first), /what is to be asked/);
  expectRefusal(await visurf(...model, '--image', first, '--problem', 'x', '--data', data), /name one of --image/);
  expectRefusal(await visurf('predict', '--model', join(place, 'none'), '--image', first, '--problem', 'x'), /no such directory/); // prettier-ignore
  writeFileSync(join(place, 'rows.jsonl'), '{"image":"a.png"}\n{\n{"image":"../b.png","problem":"x"}\n');
  expectRefusal(await visurf(...model, '--data', join(place, 'rows.jsonl')), /:1: missing field problem/, /:2: malformed JSON/, /:3: .*outside/); // prettier-ignore
});

test('Ctrl-C says how to go on', async () => {
  const output = join(folder, 'stopped.jsonl');
  const many = join(folder, 'data/many.jsonl');
  const row = readFileSync(data, 'utf8').split('\n')[0]!;
  writeFileSync(many, Array.from({ length: 400 }, () => `${row}\n`).join(''));
  const args = ['predict', '--model', run, '--data', many, '--output', output];
  const { code, stderr } = await signalAt('answering', 'SIGINT', args);
  expect(code).toBe(130);
  expect(stderr).toContain('Repeat the command to go on from there');
  expect(linesIn(output).length % 50).toBe(0);
});

test('generate is raw, and says what is not', async () => {
  const { stderr } = await visurf('generate', '--model', run, '--prompt', 'x', '--max-new-tokens', '2');
  expect(stderr).toMatch(/what is typed.*\n.*predict --model/);
});
