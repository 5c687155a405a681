/** init: from a folder of pictures and labels to data and a configuration that training takes as they are. */
import { mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { signalAt, temporaryFolder, tinyModel, visurfIn } from './cli.ts';
import type { Outcome } from './cli.ts';
import { eventsOf } from './training.ts';

interface Initialised {
  readonly format: string;
  readonly n: Record<string, number>;
  readonly survey: { readonly empty: number; readonly classes: { readonly name: string }[] };
  readonly findings: readonly { readonly kind: string }[];
  readonly probe?: { readonly questions: number; readonly separation?: { readonly accuracy: number } };
  readonly advice: { readonly paradigm: string };
  readonly plan: { readonly fits: boolean };
  readonly files: string[];
}

/** A YOLO set: squares, or nothing, on pictures of one colour each. */
async function makeSet(folder: string, pictures = 20): Promise<string> {
  const set = join(folder, 'set');
  for (const name of ['images', 'labels']) mkdirSync(join(set, name), { recursive: true });
  writeFileSync(join(set, 'classes.txt'), 'square\nring\n');
  for (let i = 0; i < pictures; i++) {
    const background = { r: (i * 37) % 256, g: (i * 91) % 256, b: (i * 151) % 256 };
    const square = {
      create: { width: 20, height: 20, channels: 3 as const, background: { r: 255 - background.r, g: 0, b: 9 } },
    };
    const plain = sharp({ create: { width: 80, height: 60, channels: 3, background } });
    const [left, top] = [(i * 7) % 50, (i * 11) % 40];
    await plain
      .composite([{ input: square, left, top }])
      .png()
      .toFile(join(set, 'images', `${i}.png`));
    const [x, y] = [(left + 10) / 80, (top + 10) / 60];
    writeFileSync(join(set, 'labels', `${i}.txt`), `${i % 2} ${x} ${y} 0.25 0.3333\n`);
  }
  return set;
}

const jsonOf = ({ code, stdout, stderr }: Outcome): Initialised => {
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Initialised;
};

const args = (...more: string[]): string[] => ['init', 'set', '--model', tinyModel, '--no-open', ...more];

test('a folder of labels becomes data and a configuration, which train takes as it is, also after a move', async () => {
  const folder = temporaryFolder();
  await makeSet(folder);
  const made = jsonOf(await visurfIn(folder, ...args('--samples', '8', '--json')));
  expect(made).toMatchObject({ format: 'yolo', survey: { empty: 0.5 }, plan: { fits: true } });
  expect(made.n).toEqual({ train: 32, validation: 8 });
  expect(made.survey.classes.map(({ name }) => name).sort()).toEqual(['ring', 'square']);
  expect(made.probe?.questions).toBe(8);
  // A random model says nothing that can be read.
  expect(made.advice.paradigm).toBe('sft-then-rlvr');
  expect(made.files).toEqual(['config.yaml', 'train.jsonl', 'validation.jsonl', 'preview.html']);
  expect(
    readdirSync(folder)
      .filter((name) => !name.startsWith('.'))
      .sort(),
  ).toEqual([...made.files, 'set'].sort());
  expect(readFileSync(join(folder, 'train.jsonl'), 'utf8')).not.toContain(folder);
  const text = readFileSync(join(folder, 'config.yaml'), 'utf8');
  expect(text.split('\n').every((line) => line.length <= 120)).toBe(true);
  expect(text).toMatch(/^ {2}train: train\.jsonl$/m);
  expect(text).toMatch(/^ {2}validation: validation\.jsonl$/m);
  const pictures = (name: string) =>
    readFileSync(join(folder, name), 'utf8').trim().split('\n').map((line) => (JSON.parse(line) as { image: string }).image); // prettier-ignore
  const held = new Set(pictures('validation.jsonl'));
  expect(pictures('train.jsonl').filter((image) => held.has(image))).toEqual([]);

  renameSync(folder, `${folder}-moved`);
  mkdirSync(folder);
  const short = [
    'steps=2',
    'sftSteps=1',
    'promptsPerStep=2',
    'rollout.group=2',
    'rollout.maxNewTokens=4',
    'eval.every=1',
  ];
  const trained = await visurfIn(`${folder}-moved`, 'train', 'config.yaml', ...short);
  expect([trained.code, trained.stderr]).toEqual([0, expect.stringMatching('step 2')]);
  expect(eventsOf(join(`${folder}-moved`, 'runs/set')).at(-1)).toMatchObject({ type: 'end', reason: 'done' });
  renameSync(`${folder}-moved`, `${folder}/moved`);
});

test('nothing is overwritten unless asked, and nothing is left where it fails or is stopped', async () => {
  const folder = temporaryFolder();
  const set = await makeSet(folder, 12);
  writeFileSync(join(folder, 'config.yaml'), 'mine\n');
  const refused = await visurfIn(folder, ...args('--no-probe'));
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringMatching(/config\.yaml is here already\n.*--force/)]);
  expect(readdirSync(folder).sort()).toEqual(['config.yaml', 'set']);
  expect((await visurfIn(folder, ...args('--no-probe', '--force'))).code).toBe(0);

  const other = temporaryFolder();
  const stopped = await signalAt('asking the base', 'SIGINT', ['init', set, ...args().slice(2)], undefined, other);
  expect([stopped.code, stopped.stderr]).toEqual([130, expect.stringMatching(/^stopped\. Nothing is left of it/m)]);
  expect(readdirSync(other).filter((name) => !name.startsWith('.'))).toEqual([]);

  writeFileSync(join(set, 'images/3.png'), 'no picture');
  writeFileSync(join(set, 'labels/4.txt'), '0 0.5 0.5\n');
  const broken = await visurfIn(other, 'init', set, '--model', tinyModel, '--no-probe', '--no-open');
  expect([broken.code, broken.stderr]).toEqual([2, expect.stringMatching(/4\.txt:1/)]);
  expect(readdirSync(other).filter((name) => !name.startsWith('.'))).toEqual([]);

  for (const [wrong, message] of [
    [['init', 'nowhere', '--model', tinyModel], 'nowhere: no such file'],
    [['init', set, '--model', 'nowhere'], 'nowhere: no such directory'],
    [['init', set], '--model'],
    [['init', set, '--model', tinyModel, '--validation', '2'], 'a share below 1'],
  ] as const) {
    const { code, stderr } = await visurfIn(other, ...wrong);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  }
});

test('a set that is nearly all [] is thinned, and says so', async () => {
  const folder = temporaryFolder();
  const set = await makeSet(folder, 20);
  writeFileSync(join(set, 'classes.txt'), 'square\nring\nstar\ncross\nmoon\nsun\n');
  const { code, stdout } = await visurfIn(folder, ...args('--no-probe'));
  expect(code).toBe(0);
  expect(stdout).toMatch(/questions whose answer is \[\] are left out until they are half of all: \d+ of train/);
  expect(stdout).toMatch(/^\[\] is the answer to 50% of the questions$/m);
  expect(stdout).toMatch('the base was not asked');
});
