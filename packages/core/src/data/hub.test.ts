/** Data sets of a hub on this machine: what comes, what is kept, what is refused. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import sharp from 'sharp';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { loadConfig } from '../config/load.ts';
import { UserError } from '../errors.ts';
import { startHub, type FakeHub } from '../hub/testkit.ts';
import { loadDataset } from './dataset.ts';
import { dataHubName, locateData } from './hub.ts';
import { importData } from './import.ts';
import { Territory } from './inside.ts';

const commit = 'd'.repeat(40);
const secret = 'hf_of_this_test';
const rows = (...problems: string[]): Buffer =>
  Buffer.from(
    parquetWriteBuffer({
      columnData: [
        { name: 'problem', data: problems, type: 'STRING' },
        { name: 'answer', data: problems.map((_, i) => String(i)), type: 'STRING' },
      ],
    }),
  );
const question = (problem: string): string => `${JSON.stringify({ problem, solution: '1', task: 'math' })}\n`;
const sums = { 'README.md': Buffer.from('# sums'), 'sums.py': Buffer.from('print()'), 'weights.pkl': Buffer.from('x') };

let picture: Buffer;
let hub: FakeHub;
let home: string;
beforeAll(async () => {
  picture = await sharp({ create: { width: 32, height: 24, channels: 3, background: '#c04040' } }).png().toBuffer(); // prettier-ignore
});
beforeEach(async () => {
  const parquet = {
    'data/train-00000-of-00002.parquet': rows('1 + 1'),
    'data/train-00001-of-00002.parquet': rows('2 + 2'),
    'data/validation-00000-of-00001.parquet': rows('3 + 3'),
    ...sums,
  };
  hub = await startHub({
    'owner/sums': { commit, files: parquet },
    'owner/gated': { commit, files: parquet, token: secret },
    'owner/several': {
      commit,
      files: { 'a/train-0.parquet': rows('a'), 'b/train-0.parquet': rows('b'), 'b/test-0.parquet': rows('c') },
    },
    'owner/lines': {
      commit,
      files: { 'train.jsonl': Buffer.from(question('1')), 'test.jsonl': Buffer.from(question('2')) },
    },
    'owner/pictures': {
      commit,
      files: {
        'train/metadata.jsonl': Buffer.from(
          `${JSON.stringify({ file_name: 'a b#1.png', problem: 'the red', solution: [] })}\n`,
        ),
        'train/a b#1.png': picture,
      },
    },
    'owner/script': { commit, files: { 'script.py': Buffer.from('x'), 'README.md': Buffer.from('x') } },
    'owner/pickles': { commit, files: { 'train.pkl': Buffer.from('x') } },
    'owner/archive': { commit, files: { 'train.zip': Buffer.from('x') } },
    'owner/nothing': { commit, files: { 'README.md': Buffer.from('x') } },
  });
  home = realpathSync(mkdtempSync(path.join(tmpdir(), 'hub-data-')));
  vi.stubEnv('HF_HOME', home);
  vi.stubEnv('XDG_CACHE_HOME', path.join(home, 'cache'));
  vi.stubEnv('XDG_STATE_HOME', path.join(home, 'state'));
  vi.stubEnv('HF_ENDPOINT', hub.url);
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HF_HUB_CACHE']) vi.stubEnv(name, undefined);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub[Symbol.asyncDispose]();
  rmSync(home, { recursive: true });
});

const root = (name: string): string => path.join(home, 'hub', `datasets--owner--${name}`);
const problems = async (name: string, options = {}): Promise<string[]> =>
  (await loadDataset(name, { task: 'math', ...options })).map(({ problem }) => problem);
const downloads = (): string[] => hub.requests.filter((each) => each.includes('/resolve/'));

async function refusal(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(() => undefined).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UserError);
  return (error as UserError).message;
}

test('what trains takes the part for training, what evaluates the held out one; nothing else comes', async () => {
  expect(await problems('owner/sums')).toEqual(['1 + 1', '2 + 2']);
  expect(downloads()).toHaveLength(2);
  expect(readFileSync(path.join(root('sums'), 'refs/main'), 'utf8')).toBe(commit);
  for (const name of Object.keys(sums))
    expect(existsSync(path.join(root('sums'), 'snapshots', commit, name))).toBe(false);
  expect(await problems('owner/sums', { isHeld: true })).toEqual(['3 + 3']);
  expect(await problems('owner/sums')).toEqual(['1 + 1', '2 + 2']);
  expect(downloads()).toHaveLength(3);
  expect(await problems('owner/sums', { split: 'val' })).toEqual(['3 + 3']);
  expect(await refusal(problems('owner/sums', { split: 'test' }))).toMatch(/no part test[^]*train, validation/);
});

test('lines and JSON are read as parquet is, part by part', async () => {
  expect(await problems('owner/lines')).toEqual(['1']);
  expect(await problems('owner/lines', { isHeld: true })).toEqual(['2']);
  expect(await problems('owner/lines')).toEqual(['1']);
});

test('a revision is pinned by its name; a commit that is there needs no request, nor does any without a network', async () => {
  expect(await problems(`owner/sums@${commit}`)).toEqual(['1 + 1', '2 + 2']);
  hub.requests.length = 0;
  expect(await problems(`owner/sums@${commit}`)).toEqual(['1 + 1', '2 + 2']);
  expect(hub.requests).toEqual([]);
  expect(await refusal(problems('owner/sums@v9'))).toContain('no revision v9');
  expect(await refusal(problems('owner/sums@../x'))).toContain('is no revision');
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  hub.requests.length = 0;
  expect(await refusal(problems('owner/sums'))).toMatch(
    /no such file, and the data set is not in the cache[^]*OFFLINE/,
  );
  vi.stubEnv('HF_HUB_OFFLINE', undefined);
  await problems('owner/sums');
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  hub.requests.length = 0;
  expect(await problems('owner/sums')).toEqual(['1 + 1', '2 + 2']);
  // The other part is not there.
  expect(await refusal(problems('owner/sums', { isHeld: true }))).toContain('not in the cache');
  expect(hub.requests).toEqual([]);
  vi.stubEnv('HF_HUB_OFFLINE', undefined);
  const notes: string[] = [];
  await hub[Symbol.asyncDispose]();
  expect(await problems('owner/sums', { onNote: (note: string) => notes.push(note) })).toHaveLength(2);
  expect(notes.join('\n')).toContain('the hub cannot be reached: owner/sums is taken from the cache');
}, 30_000);

test('a download that breaks off goes on, and forged content is refused', async () => {
  const [name = ''] = Object.keys({ 'data/train-00000-of-00002.parquet': 0 });
  hub.breaks.push(10);
  expect(await problems('owner/sums')).toHaveLength(2);
  rmSync(root('sums'), { recursive: true });
  hub.forged.set(name, rows('9 + 9'));
  expect(await refusal(problems('owner/sums'))).toMatch(/hash/);
  expect(existsSync(path.join(root('sums'), 'snapshots', commit, name))).toBe(false);
});

test('a gated set needs its token', async () => {
  expect(await refusal(problems('owner/gated'))).toMatch(
    /data set does not exist, or is private or gated[^]*datasets\/owner\/gated/,
  );
  vi.stubEnv('HF_TOKEN', secret);
  expect(await problems('owner/gated')).toHaveLength(2);
});

test('one of several sets is named; what is no data says what it is', async () => {
  expect(await refusal(problems('owner/several'))).toMatch(/several sets: a, b[^]*a\/train, b\/test, b\/train/);
  expect(await problems('owner/several', { split: 'b/train' })).toEqual(['b']);
  expect(await problems('owner/several', { split: 'a/train' })).toEqual(['a']);
  expect(await refusal(problems('owner/script'))).toMatch(/a program that makes the data, which is not run: script.py/);
  expect(await refusal(problems('owner/pickles'))).toMatch(/pickled data is not opened/);
  expect(await refusal(problems('owner/archive'))).toMatch(/archives, which are not read: train.zip/);
  expect(await refusal(problems('owner/nothing'))).toMatch(/no data that is read/);
  expect(downloads().filter((each) => /\.(py|pkl|zip|md)/.test(each))).toEqual([]);
});

describe('pictures of a set', () => {
  test('are read where links of the snapshot lead, and nowhere else', async () => {
    const [sample] = await loadDataset('owner/pictures', { task: 'grounding' });
    expect(readFileSync(sample!.images[0]!).equals(picture)).toBe(true);
    const { path: folder } = await locateData('owner/pictures');
    const territory = new Territory([folder]);
    expect(territory.has(path.join(folder, 'train/a b#1.png'))).toBe(true);
    const secretFile = path.join(home, 'secret.png');
    writeFileSync(secretFile, picture);
    symlinkSync(secretFile, path.join(folder, 'train/link.png'));
    expect(territory.has(path.join(folder, 'train/link.png'))).toBe(false);
    // A folder that only looks like a cache, whose blobs are anything.
    const fake = path.join(home, 'datasets--x--y');
    mkdirSync(path.join(fake, 'snapshots', commit), { recursive: true });
    symlinkSync(home, path.join(fake, 'blobs'));
    symlinkSync(secretFile, path.join(fake, 'snapshots', commit, 'a.png'));
    const lure = path.join(fake, 'snapshots', commit);
    expect(new Territory([lure]).has(path.join(lure, 'a.png'))).toBe(false);
  });

  test('are imported, and what was imported is read again', async () => {
    const output = path.join(home, 'out/train.jsonl');
    expect(await importData('owner/pictures', { output })).toMatchObject({ n: 1, images: 1, leftOut: 0 });
    expect(await loadDataset(output, { task: 'grounding' })).toHaveLength(1);
  });

  test('nothing is written into the cache that others share but what was downloaded', async () => {
    await loadDataset('owner/pictures', { task: 'grounding', truths: () => ({ parseTruth: () => 0 }), reading: 1 });
    expect(existsSync(path.join(root('pictures'), 'snapshots', commit, '.visurf-cache'))).toBe(false);
  });
});

test('what is a path stays one: a missing file is called that', async () => {
  mkdirSync(path.join(home, 'data'));
  const inside = (name: string): string => path.join(home, name);
  expect(dataHubName('owner/sums', inside('owner/sums'))).toEqual({ id: 'owner/sums' });
  expect(dataHubName('owner/sums@v1.0', inside('owner/sums@v1.0'))).toEqual({ id: 'owner/sums', revision: 'v1.0' });
  for (const name of [
    'data/cars',
    'owner/train.jsonl',
    'owner/train.parquet',
    './owner/sums',
    '/owner/sums',
    'a/b/c',
    'sums',
  ]) {
    expect(dataHubName(name, path.resolve(home, name)), name).toBeUndefined();
  }
  expect(await refusal(problems('none/train.jsonl'))).toContain('no such file');
  expect(await refusal(problems('none/such'))).toContain('no such file, and no such data set on the hub');
  const config = path.join(home, 'config.yaml');
  writeFileSync(
    config,
    'model: x\noutput: run\nsteps: 1\ndata:\n  train: [owner/sums@v1, {file: data/cars}]\n  validation: owner/sums\n',
  );
  const read = loadConfig(config);
  expect(read.data.train).toEqual(['owner/sums@v1', { file: inside('data/cars'), weight: 1 }]);
  expect(read.data.validation).toBe('owner/sums');
});

test('a hub that means harm names no file outside of the snapshot', async () => {
  for (const name of [
    '../../../x.jsonl',
    '/etc/x.jsonl',
    'a/../../x.jsonl',
    'a\\..\\x.jsonl',
    'a//b.jsonl',
    'c:/x.jsonl',
  ]) {
    await using evil = await startHub({ 'owner/evil': { commit, files: { [name]: Buffer.from(question('1')) } } });
    vi.stubEnv('HF_ENDPOINT', evil.url);
    expect(await refusal(problems('owner/evil')), name).toMatch(/no data that is read/);
    expect(evil.requests.filter((each) => each.includes('/resolve/'))).toEqual([]);
  }
  await using evil = await startHub({
    'owner/evil': { commit, files: { 'a.jsonl': Buffer.from('x'), 'a.jsonl/b.jsonl': Buffer.from('y') } },
  });
  vi.stubEnv('HF_ENDPOINT', evil.url);
  expect(await refusal(problems('owner/evil'))).toContain('a.jsonl is a file and a folder');
});
