/** Training data that cannot be used: one message that lists all of it, before training starts. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { expectRefusal, tinyModel, visurf } from './cli.ts';
import { bad, expectNoTraining, good, linesOf, makeFolder, usual } from './training.ts';

interface BadImage {
  readonly name: string;
  readonly make: (file: string) => unknown;
  /** What is wrong, and what to do about it. */
  readonly says: readonly (string | RegExp)[];
}

const blank = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: 'red' } }).png();

/** A PNG whose header says another size, with the checksum that belongs to it. */
function claimSize(file: string, size: number): void {
  const png = readFileSync(join(import.meta.dirname, '../../../oracle/fixtures/images/small-40x40.png'));
  png.writeUInt32BE(size, 16);
  png.writeUInt32BE(size, 20);
  png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
  writeFileSync(file, png);
}

const badImages: readonly BadImage[] = [
  { name: 'missing', make: () => undefined, says: ['image file not found'] },
  {
    name: 'not an image',
    make: (file) => writeFileSync(file, Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 7919) % 251))),
    says: ['not an image', 'Convert it to PNG'],
  },
  {
    name: 'a truncated PNG',
    make: async (file) => {
      const noise = { type: 'gaussian', mean: 128, sigma: 30 } as const;
      await sharp({ create: { width: 64, height: 64, channels: 3, noise, background: 'red' } }).toFile(file);
      truncateSync(file, 2000);
    },
    says: ['damaged', 'copy or make it again'],
  },
  { name: '1 x 1', make: (file) => blank(1, 1).toFile(file), says: ['1 x 1 pixels is too small', /need \d+ pixels/] },
  {
    name: '50,000 x 50,000',
    make: (file) => claimSize(file, 50_000),
    says: ['50000 x 50000 pixels is too large', 'Scale it'],
  },
  { name: 'a line of pixels', make: (file) => blank(3000, 5).toFile(file), says: ['3000 x 5 pixels is too long'] },
  {
    name: 'an SVG called PNG',
    make: (file) => writeFileSync(file, '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"/>'),
    says: ['not an image', 'Convert it to PNG'],
  },
  { name: 'empty', make: (file) => writeFileSync(file, ''), says: ['image file is empty'] },
  { name: 'a folder', make: (file) => mkdirSync(file), says: ['b.png', 'is not a file'] },
];

test.each(badImages)('an image that is $name', async ({ make, says }) => {
  await expectNoTraining(
    { lines: [good, bad({ image: 'b.png' })], prepare: (folder) => make(join(folder, 'b.png')) },
    ...['1 bad sample', /train\.jsonl:2 \(id bad\): .*b\.png/, ...says, 'Correct or remove'],
  );
});

const badLines: readonly (readonly [string, unknown, string])[] = [
  ['is not JSON', '{"image": ', 'malformed JSON'],
  ['is no object', '[1, 2]', 'not a JSON object'],
  ['is not UTF-8', undefined, 'not UTF-8'],
  ['has no image', bad({ image: undefined }), 'missing field image'],
  ['has no problem', bad({ problem: undefined }), 'missing field problem'],
  ['has no solution', bad({ solution: undefined }), 'missing field solution'],
  ['has an image that is no path', bad({ image: 7 }), 'image must be a path'],
  ['has an empty problem', bad({ problem: ' ' }), 'problem must be a text'],
  ['has an unknown task', bad({ task: 'count' }), 'there is no task count: choose one of grounding'],
  ['has the id of another', bad({ id: 'good' }), 'same id as line 1'],
  ['has two images', bad({ image: ['a.png', 'a.png'] }), 'exactly one image'],
  ['has a solution that is not JSON', bad({ solution: 'red' }), 'the solution is not JSON'],
  ['has a solution that is no list', bad({ solution: { box: [1, 2, 3, 4] } }), 'not a list'],
  ['has a box of three numbers', bad({ solution: [{ bbox_2d: [1, 2, 3] }] }), '"bbox_2d" is not four numbers'],
  ['has a box without area', bad({ solution: [{ bbox_2d: [9, 2, 3, 4] }] }), 'has no area'],
  ['has a box outside its image', bad({ solution: [{ bbox_2d: [1, 2, 300, 400] }] }), 'outside the image'],
  ['has an unknown field', bad({ solution: [{ box: [1, 2, 3, 4] }] }), 'unknown field "box"'],
];
const required = ['is not JSON', 'has no problem', 'has a solution that is not JSON', 'has the id of another'];

test.each(badLines.filter(([name]) => required.includes(name)))('a sample that %s', async (_, line, message) => {
  await expectNoTraining({ lines: [good, line] }, '1 bad sample', 'train.jsonl:2', message, 'Correct or remove');
});

test('everything that is wrong, in images and lines, for training and for evaluation, is listed at once', async () => {
  const lines = badLines.map(([, line = '?'], i) =>
    typeof line === 'object' && !('id' in line! && line.id === 'good') ? { ...line, id: `bad${i}` } : line,
  );
  const images = badImages.map(({ name }, i) => bad({ id: name, image: `${i}.png` }));
  const setting = {
    lines: [good, ...lines, ...images],
    config: `${usual}eval: { every: 1 }\n`.replace('train.jsonl', 'train.jsonl\n  validation: other.jsonl'),
    prepare: async (folder: string) => {
      const file = join(folder, 'train.jsonl');
      const bytes = readFileSync(file);
      bytes[bytes.indexOf('\n?\n') + 1] = 0xff;
      writeFileSync(file, bytes);
      writeFileSync(join(folder, 'other.jsonl'), linesOf([good, bad({ image: 'none.png' })]));
      for (const [i, { make }] of badImages.entries()) await make(join(folder, `${i}.png`));
    },
  };
  const number = badLines.length + badImages.length;
  const places = Array.from({ length: Math.min(number, 20) }, (_, i) => new RegExp(`train\\.jsonl:${i + 2}\\b`));
  const reasons = badLines.map(([, , reason]) => reason);
  await expectNoTraining(
    setting,
    ...[
      `${number} bad samples`,
      ...places,
      ...reasons,
      `and ${number - 20} more`,
      /other\.jsonl:2 \(id bad\).*none\.png/,
    ],
  );
});

test('the same list comes from data check and from eval', async () => {
  const folder = await makeFolder({ lines: [good, bad({ image: 'none.png' }), '{'] });
  const file = join(folder, 'train.jsonl');
  const says = ['2 bad samples', `${file}:2 (id bad): image file not found`, `${file}:3: malformed JSON`];
  expectRefusal(await visurf('data', 'check', file), ...says);
  const checked = await visurf('data', 'check', file, '--json');
  expect(checked.code).toBe(2);
  for (const message of says) expect(checked.stderr).toContain(message);
  const { findings, ...counts } = JSON.parse(checked.stdout) as { findings: Record<string, unknown>[] };
  expect(counts).toEqual({ n: 1, images: 1, tasks: { grounding: 1 } });
  expect(findings.map(({ kind, severity, line }) => [kind, severity, line]).sort()).toEqual([
    ['image', 'error', 2],
    ['row', 'error', 3],
  ]);
  for (const each of findings)
    expect(Object.keys(each).sort()).toEqual(['file', 'kind', 'line', 'message', 'severity']);
  expectRefusal(await visurf('eval', '--model', tinyModel, '--data', file, '--json'), ...says);
});

test.each([
  ['empty', (file: string) => writeFileSync(file, ''), ['holds no samples', 'A sample is a line such as']],
  ['missing', (file: string) => rmSync(file), ['no such file']],
  [
    'a folder',
    (file: string) => {
      rmSync(file);
      mkdirSync(file);
    },
    ['is a directory'],
  ],
])('a dataset that is %s', async (_, spoil, says) => {
  await expectNoTraining({ prepare: (folder) => spoil(join(folder, 'train.jsonl')) }, 'train.jsonl: ', ...says);
});

test.each([
  ['a pipe', 'corrections.jsonl'],
  ['a device', '/dev/zero'],
])('corrections that are %s are refused before there is a run', async (kind, file) => {
  const prepare = (folder: string): void => void execFileSync('mkfifo', [join(folder, 'corrections.jsonl')]);
  const setting = { config: usual.replace('data:\n', `data:\n  corrections: ${file}\n`), prepare };
  await expectNoTraining(setting, `is not a file but ${kind}`, file);
});

test('prompts longer than the limit, for training and for evaluation', async () => {
  const config = `${usual}eval: { every: 1 }\n`.replace('train.jsonl', 'train.jsonl\n  validation: other.jsonl');
  const prepare = (folder: string) => writeFileSync(join(folder, 'other.jsonl'), linesOf([bad({})]));
  await expectNoTraining(
    { config, prepare, args: ['data.maxPromptTokens=20'] },
    ...[
      '2 of 2 samples',
      /train\.jsonl:1 \(good\): the prompt has \d+ tokens .* more than 20/,
      /other\.jsonl:1 \(bad\)/,
    ],
    'Raise data.maxPromptTokens',
  );
});

test('an image outside the folder of the dataset is the choice of its user', async () => {
  const folder = await makeFolder({ lines: [bad({ image: join(tinyModel, '../../images/small-40x40.png') })] });
  const file = join(folder, 'train.jsonl');
  const checked = await visurf('data', 'check', file);
  expect([checked.code, checked.stderr]).toEqual([
    2,
    expect.stringMatching(/train\.jsonl:1 .*outside of the data folder.*allowOutside/),
  ]);
  expectRefusal(await visurf('train', join(folder, 'config.yaml')), 'train.jsonl:1', 'outside of the data folder');
  expect((await visurf('data', 'check', file, '--allow-outside')).code).toBe(0);
  expect((await visurf('train', join(folder, 'config.yaml'), 'data.allowOutside=true')).code).toBe(0);
});

test('what looks wrong, and labels that the model cannot write, are named, and nothing is refused', async () => {
  const solution = [{ bbox_2d: [10, 10, 10.2, 30] }];
  const folder = await makeFolder({ lines: [good, bad({ solution })] });
  const file = join(folder, 'train.jsonl');
  const says = [`${file}:2 (id bad): the box [10,10,10.2,30] is written`, 'which has no area', 'would survive where'];
  const checked = await visurf('data', 'check', file, '--model', tinyModel, '--json');
  expect(checked.code).toBe(0);
  const { n, findings } = JSON.parse(checked.stdout) as { n: number; findings: Record<string, unknown>[] };
  expect([n, findings.length]).toEqual([2, 1]);
  expect(findings[0]).toMatchObject({ kind: 'rounding', severity: 'warning', file, line: 2 });
  const shown = await visurf('data', 'check', file, '--max-pixels', '40000');
  expect(shown.code).toBe(0);
  for (const message of says) expect(shown.stdout).toContain(message);
  const rewards = await visurf('reward', 'check', file, '--model', tinyModel, '--json');
  expect((JSON.parse(rewards.stdout) as { findings: unknown }).findings).toMatchObject([{ kind: 'rounding', line: 2 }]);
  const trained = await visurf('train', join(folder, 'config.yaml'));
  expect(trained.code).toBe(0);
  expect(trained.stderr).toContain('1 of 2 samples are left out');
  expect(trained.stderr).toContain('train.jsonl:2 (bad)');
  writeFileSync(file, linesOf([bad({ solution })]));
  expectRefusal(await visurf('train', join(folder, 'config.yaml'), 'output=other'), '1 of 1 samples', 'data check');
});
