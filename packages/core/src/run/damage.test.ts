/** Whatever happens to a file of a checkpoint is noticed: the run goes on from the one before, and keeps the damaged one. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { memory } from '../testing/disk.ts';
import { budget, held, random } from '../testing/reliability.ts';
import { contents, resume, start, STEPS, train } from './testkit.ts';

const root = mkdtempSync(path.join(memory(), 'visurf-damage-'));
afterAll(() => rmSync(root, { recursive: true }));

const whole = path.join(root, 'whole');
const stopped = path.join(root, 'stopped');
const checkpoint = 'checkpoints/000006';

beforeAll(async () => {
  for (const [directory, steps] of [
    [whole, STEPS],
    [stopped, 6],
  ] as const) {
    const course = start(directory);
    await train(course, steps);
    course.run.close();
  }
});

const filesOf = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name)));

const FILES = ['manifest.json', 'state.json', 'model.safetensors', 'optimizer/state'];

type Damage = (file: string, next: () => number) => void;
const change =
  (alter: (bytes: Buffer, next: () => number) => Buffer): Damage =>
  (file, next) =>
    writeFileSync(file, alter(readFileSync(file), next));
const DAMAGES: Readonly<Record<string, Damage>> = {
  removed: (file) => rmSync(file),
  'made a folder': (file) => {
    rmSync(file);
    mkdirSync(file);
  },
  'made a pipe': (file) => {
    rmSync(file);
    execFileSync('mkfifo', [file]);
  },
  emptied: (file) => truncateSync(file, 0),
  'cut off': (file, next) => truncateSync(file, Math.floor(next() * readFileSync(file).length)),
  'made longer': change((bytes) => Buffer.concat([bytes, Buffer.from('x')])),
  zeroed: change((bytes) => Buffer.alloc(bytes.length)),
  'a bit turned': change((bytes, next) => {
    bytes[Math.floor(next() * bytes.length)]! ^= 1 << Math.floor(next() * 8);
    return bytes;
  }),
  'a digit changed': change((bytes, next) => {
    const digits = [...bytes.keys()].filter((i) => bytes[i]! >= 0x30 && bytes[i]! <= 0x39);
    const at = digits[Math.floor(next() * digits.length)];
    if (at === undefined) bytes[0]! ^= 1;
    else bytes[at] = 0x30 + ((bytes[at]! - 0x30 + 1) % 10);
    return bytes;
  }),
  'that of another checkpoint': (file) => {
    writeFileSync(file, `${readFileSync(file.replace('000006', '000004'), 'utf8')} `.slice(0, -1));
  },
};

test('the files of a checkpoint are those that are damaged here', () => {
  expect(filesOf(path.join(stopped, checkpoint)).sort()).toEqual(FILES.toSorted());
});

let done = 0;
let noticed = 0;

test.each(FILES.flatMap((file) => Object.keys(DAMAGES).map((kind) => [file, kind] as const)))(
  '%s %s',
  { timeout: 600_000 },
  async (file, kind) => {
    for (let seed = 0; seed < budget(1, 40); seed++) {
      const directory = path.join(root, String(done++));
      cpSync(stopped, directory, { recursive: true, verbatimSymlinks: true });
      DAMAGES[kind]!(path.join(directory, checkpoint, file), random(seed));
      const course = await resume(directory);
      expect([course.step, course.warnings[0]]).toEqual([4, expect.stringContaining('checkpoint 6 is damaged')]);
      expect(existsSync(path.join(directory, 'checkpoints/damaged-000006'))).toBe(true);
      await train(course, STEPS);
      course.run.close();
      expect(contents(directory)).toEqual(contents(whole));
      rmSync(directory, { recursive: true });
      noticed++;
    }
  },
);

afterAll(() => {
  const test = 'packages/core/src/run/damage.test.ts';
  held({
    promise: 'A damage to any file of a checkpoint is noticed, and nothing damaged is deleted',
    test,
    count: noticed,
    of: 'damages',
  });
});
