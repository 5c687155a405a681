/** Input that cannot be used: one clear message (what, where, remedy) and exit code 2, before training starts. */

import { copyFileSync, cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { fixtures, temporaryFolder, tinyModel, visurf } from './cli.ts';
import type { Outcome } from './cli.ts';

const good = { id: 'good', image: 'a.png', problem: 'the red circle', solution: [{ bbox_2d: [1, 2, 30, 31] }] };

interface Setting {
  readonly lines?: readonly unknown[];
  readonly config?: string;
  readonly overrides?: readonly string[];
}

/** A folder with an image, two or more samples and a configuration; `prepare` spoils it. */
async function train(setting: Setting, prepare?: (folder: string) => unknown): Promise<Outcome> {
  const folder = temporaryFolder();
  copyFileSync(join(fixtures, 'images/small-40x40.png'), join(folder, 'a.png'));
  const lines = (setting.lines ?? [good]).map((line) => (typeof line === 'string' ? line : JSON.stringify(line)));
  writeFileSync(join(folder, 'train.jsonl'), `${lines.join('\n')}\n`);
  writeFileSync(
    join(folder, 'config.yaml'),
    `model: ${tinyModel}\noutput: run\nsteps: 1\npromptsPerStep: 1\ndata:\n  train: train.jsonl\n` +
      `rollout: { group: 2, maxNewTokens: 4 }\n${setting.config ?? ''}`,
  );
  await prepare?.(folder);
  return visurf('train', join(folder, 'config.yaml'), ...(setting.overrides ?? []).map((o) => o.replace('$', folder)));
}

function expectRefusal({ code, stdout, stderr }: Outcome, ...messages: readonly (string | RegExp)[]): void {
  for (const message of messages) expect(stderr).toMatch(message);
  expect(stderr).not.toContain('    at ');
  expect(stderr).not.toContain('training');
  expect([code, stdout]).toEqual([2, '']);
}

const bad = (fields: object) => ({ ...good, id: 'bad', ...fields });

test('a missing image', async () => {
  expectRefusal(await train({ lines: [good, bad({ image: 'none.png' })] }), 'train.jsonl:2', 'bad', 'none.png');
});

test('a file that is not an image', async () => {
  const outcome = await train({ lines: [good, bad({ image: 'b.png' })] }, (folder) =>
    writeFileSync(join(folder, 'b.png'), 'no image'),
  );
  expectRefusal(outcome, 'train.jsonl:2', 'bad', 'b.png');
});

test('a truncated PNG', async () => {
  const outcome = await train({ lines: [good, bad({ image: 'b.png' })] }, async (folder) => {
    const noise = { type: 'gaussian', mean: 128, sigma: 30 } as const;
    const file = join(folder, 'b.png');
    await sharp({ create: { width: 64, height: 64, channels: 3, noise, background: 'red' } }).toFile(file);
    truncateSync(file, 2000);
  });
  expectRefusal(outcome, 'train.jsonl:2', 'bad', 'b.png');
});

test('an image of 1 x 1', async () => {
  const outcome = await train({ lines: [good, bad({ image: 'b.png' })] }, (folder) =>
    sharp({ create: { width: 1, height: 1, channels: 3, background: 'red' } }).toFile(join(folder, 'b.png')),
  );
  expectRefusal(outcome, 'train.jsonl:2', 'bad', '1 x 1');
});

test('an image of 50,000 x 50,000', async () => {
  const outcome = await train({ lines: [good, bad({ image: 'b.png' })] }, (folder) => {
    const png = readFileSync(join(folder, 'a.png'));
    png.writeUInt32BE(50_000, 16);
    png.writeUInt32BE(50_000, 20);
    writeFileSync(join(folder, 'b.png'), png);
  });
  expectRefusal(outcome, 'train.jsonl:2', 'bad', 'b.png');
});

test('a line that is not JSON', async () => {
  expectRefusal(await train({ lines: [good, '{"image": '] }), 'train.jsonl:2', /JSON/);
});

test('a missing field', async () => {
  expectRefusal(await train({ lines: [good, bad({ problem: undefined })] }), 'train.jsonl:2', 'problem');
});

test('a solution that does not parse', async () => {
  const outcome = await train({ lines: [good, bad({ solution: [{ bbox_2d: [1, 2, 3] }] })] });
  expectRefusal(outcome, 'train.jsonl:2', 'bad', 'bbox_2d');
});

test('a solution outside its image', async () => {
  const outcome = await train({ lines: [good, bad({ solution: [{ bbox_2d: [1, 2, 300, 400] }] })] });
  expectRefusal(outcome, 'train.jsonl:2', 'bad', 'outside the image');
});

test('all bad samples are listed together', async () => {
  const outcome = await train({ lines: [good, '{', bad({ image: 'none.png' }), bad({ id: 'worse', solution: 'x' })] });
  expectRefusal(outcome, 'train.jsonl:2', 'train.jsonl:3', 'train.jsonl:4');
});

test('a prompt longer than the limit', async () => {
  const outcome = await train({ overrides: ['data.maxPromptTokens=20'] });
  expectRefusal(outcome, 'train.jsonl:1', 'good', 'data.maxPromptTokens');
});

test('an unknown key, with the nearest known one', async () => {
  expectRefusal(await train({ config: 'optimiser: { name: sgd }\n' }), 'config.yaml:8', 'optimiser', 'optimizer');
  expectRefusal(await train({ overrides: ['rollout.grup=3'] }), 'rollout.grup', 'group');
});

test('a value of the wrong kind', async () => {
  expectRefusal(await train({ overrides: ['steps=many'] }), 'steps');
});

test('a model directory without weights', async () => {
  const outcome = await train({ overrides: ['model=$/model'] }, (folder) => {
    cpSync(tinyModel, join(folder, 'model'), { recursive: true });
    rmSync(join(folder, 'model/model.safetensors'));
  });
  expectRefusal(outcome, /model.*safetensors/);
});

test('a directory that is no model', async () => {
  expectRefusal(await train({ overrides: ['model=$'] }), 'config.json');
});

test.each(['sft', 'visurf'])('NaN in the loss of %s', async (paradigm) => {
  const { code, stderr } = await train({ overrides: ['model=$/model', `paradigm=${paradigm}`] }, (folder) => {
    const model = join(folder, 'model');
    cpSync(tinyModel, model, { recursive: true });
    const weights = readFileSync(join(model, 'model.safetensors'));
    const length = Number(weights.readBigUInt64LE(0));
    const header = JSON.parse(weights.toString('utf8', 8, 8 + length)) as Record<string, { data_offsets: number[] }>;
    weights.writeFloatLE(NaN, 8 + length + header['lm_head.weight']!.data_offsets[0]!);
    writeFileSync(join(model, 'model.safetensors'), weights);
  });
  expect(stderr).toMatch(/NaN|not finite|not a finite/);
  expect(code).toBe(2);
});

test('an output directory that holds a run', async () => {
  const folder = temporaryFolder();
  const setting = { overrides: [`output=${folder}/run`] };
  expect((await train(setting)).code).toBe(0);
  expectRefusal(await train(setting), /[Rr]esume/);
});

test('data that is not there', async () => {
  const { code, stderr } = await visurf('eval', '--model', tinyModel, '--data', 'none.jsonl');
  expect(stderr).toContain('none.jsonl');
  expect(code).toBe(2);
});
