/** Mistakes that are common and were silent: each is named before training begins, or said while it does (docs/mistakes.md). */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, fixtures, temporaryFolder, tinyModel, visurf, visurfIn, visurfJson } from './cli.ts';
import { bad, expectNoTraining, good, linesOf, makeFolder, usual } from './training.ts';

const template = (text: string) => ({ config: usual.replace('data:\n', `data:\n  prompt: '${text}'\n`) });

test.each([
  ['the wrong case', 'Find {question}.', '{question}, which is no variable and would be text: write {Question}'],
  ['spaces', 'Find { Question }.', 'write {Question}'],
  ['doubled braces', 'Find {{Question}}.', 'write {Question}'],
  ['a slip', 'Find {qestion}.', 'write {Question}'],
  ['no variable at all', 'Find it. {"bbox_2d": [1, 2, 3, 4]}', 'no {Question}: every sample would be asked the same'],
])('a prompt template with %s', async (_, text, message) => {
  await expectNoTraining(template(text), 'data.prompt', message);
});

test('braces that are no variable are text', async () => {
  const { code } = await visurf(
    'train',
    join(await makeFolder(template('Find {Question} as {"boxes": [{x}]}.')), 'config.yaml'),
  );
  expect(code).toBe(0);
});

test.each([
  ['a prompt of its own that nearly has a variable', { prompt: 'find {question}' }, 'write {Question}'],
  ['an empty prompt of its own', { prompt: ' ' }, 'prompt must be a text that is not empty'],
  ['a prompt that is no text', { prompt: 5 }, 'prompt must be a text that is not empty'],
  ['an empty problem', { problem: '  ' }, 'problem must be a text that is not empty'],
  ['a problem that is no text', { problem: ['red'] }, 'problem must be a text'],
  ['thinkng', { thinkng: 'it is red' }, 'the field thinkng means nothing here: write thinking'],
  ['Thinking', { Thinking: 'it is red' }, 'write thinking'],
  ['promt', { promt: 'find {Question}' }, 'write prompt'],
  ['images', { images: ['a.png'], image: undefined }, 'the field images means nothing here: write image'],
  [
    'an address of the net',
    { image: 'https://example.org/a.png' },
    'is an address of the net (https), which is not fetched',
  ],
  ['a path of Windows', { image: 'C:\\data\\a.png' }, /is a path of Windows.*\/mnt\/c\/data\/a\.png/],
  ['slashes of Windows', { image: 'photos\\a.png' }, 'is written with the slashes of Windows'],
  [
    'a picture in the text',
    { image: `data:image/png;base64,${'A'.repeat(9000)}` },
    'is a picture in the text (a data URI)',
  ],
])('a row with %s', async (_, fields, message) => {
  await expectNoTraining({ lines: [good, bad(fields)] }, /train\.jsonl:2/, message);
});

test('fields of the user’s own are left alone', async () => {
  const own = { note: 'x', classes: 3, masks: 1, images: ['a.png'], prompt: 'find {Question}', source: 'y', tag: 'z' };
  const folder = await makeFolder({ lines: [bad(own)] });
  expect(await visurfJson('data', 'check', join(folder, 'train.jsonl'))).toMatchObject({ n: 1, findings: [] });
});

test.each([
  ['data on the net', ['data.train=https://example.org/a.jsonl'], 'is an address of the net (https)'],
  ['data of Windows', ['data.train=D:\\a.jsonl'], /under WSL that is .mnt.d.a\.jsonl/],
  [
    'the page of a model',
    ['model=https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct'],
    'Name the model alone: Qwen/Qwen2.5-VL-3B-Instruct',
  ],
  [
    'answers longer than positions',
    ['rollout.maxNewTokens=400000'],
    /rollout\.maxNewTokens: answers of 400000 tokens.*positions/,
  ],
  [
    'a run that no memory holds',
    ['promptsPerStep=4096', 'train.microBatch.prompts=4096', 'rollout.group=64', 'rollout.maxNewTokens=4000'],
    /the run needs [\d,.]+ GB of memory, and [\d,.]+ GB are available.*\n.*train\.microBatch\.prompts=1/,
  ],
  [
    'a run that no disk holds',
    ['checkpoint.keep=900000000'],
    /checkpoints need [\d,.]+ GB of disk.*\n.*checkpoint\.keep: 1/,
  ],
])('%s', async (_, args, message) => {
  await expectNoTraining({ args }, message);
});

test('what the plan refuses is begun with --unplanned', async () => {
  const config = join(await makeFolder({}), 'config.yaml');
  expect((await visurf('train', config, 'checkpoint.keep=900000000', '--unplanned')).code).toBe(0);
});

test('the name of a run with a slip in it', async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'runs/cars'), { recursive: true });
  const said = await visurfIn(folder, 'predict', '--model', 'runs/car', '--image', 'a.png', '--problem', 'x');
  expectRefusal(said, 'runs/car: ', 'Did you mean runs/cars?');
});

test('validation data that training has, by name or by content, and rates of another kind are said', async () => {
  const folder = await makeFolder({});
  const config = join(folder, 'config.yaml');
  const other = join(folder, 'other');
  mkdirSync(other);
  copyFileSync(join(fixtures, 'images/small-40x40.png'), join(other, 'copy.png'));
  writeFileSync(join(other, 'held.jsonl'), linesOf([{ ...good, image: 'copy.png', problem: 'another question' }]));
  const warning = 'data.validation shows all 1 pictures that training shows, too';
  const said = async (...changes: string[]) =>
    (await visurf('train', config, `output=${join(folder, changes.join('').replaceAll(/\W/g, ''))}`, ...changes))
      .stderr;
  expect(await said(`data.validation=${join(folder, 'train.jsonl')}`)).toMatch(warning);
  expect(await said(`data.validation=${join(other, 'held.jsonl')}`)).toMatch(warning);
  copyFileSync(join(fixtures, 'images/flat-90x60.png'), join(other, 'copy.png'));
  expect(await said(`data.validation=${join(other, 'held.jsonl')}`, 'steps=2')).not.toMatch(warning);
  expect(await said('train.lora.rank=4', 'optimizer.learningRate=1e-6')).toMatch('adapters (train.lora) hardly move');
  expect(await said('optimizer.learningRate=0.5')).toMatch('a rate for adapters');
});

test('more than 20 faults: all of them with the command that the message names', async () => {
  const lines = Array.from({ length: 30 }, (_, i) => ({ ...good, id: String(i), image: `${i}.png` }));
  const folder = await makeFolder({ lines });
  const refused = await visurf('train', join(folder, 'config.yaml'));
  expectRefusal(refused, 'and 10 more', /visurf data check .*train\.jsonl --all$/m);
  const all = await visurf('data', 'check', join(folder, 'train.jsonl'), '--all');
  expect(all.stderr.match(/image file not found/g)).toHaveLength(30);
  const listed = await visurf('data', 'check', join(folder, 'train.jsonl'), '--json');
  const { findings } = JSON.parse(listed.stdout) as { findings: { kind: string; line: number }[] };
  const lost = findings.filter(({ kind }) => kind === 'image');
  expect([listed.code, lost.length, lost[29]?.line]).toEqual([2, 30, 30]);
});

test('what the system says of a file is its user’s to mend, in whatever words it says that', async () => {
  const folder = await makeFolder({});
  const socket = join(folder, 'answers.sock');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const asked = ['predict', '--model', tinyModel, '--image', join(folder, 'a.png'), '--problem', 'red'];
  expectRefusal(await visurf(...asked, '--output', socket), /answers\.sock: no such device or address/);
  const args = ['eval', '--model', tinyModel, '--data', join(folder, 'train.jsonl')];
  expectRefusal(await visurf(...args, '--output', socket), /answers\.sock: is not a file but a socket/);
  server.close();
});

test('data where a configuration belongs', async () => {
  const folder = temporaryFolder();
  expect((await visurf('plan', folder)).stderr).toMatch(
    `${folder} is data, no configuration: visurf plan data.train=${folder}`,
  );
});

test.each([
  ['without folders of images', 'names: [cat]\n', [], 'it names no images: train, val and test are missing'],
  ['without the split that is wanted', 'train: .\nnames: [cat]\n', ['--split', 'test'], 'no split test: it has train'],
])('a data.yaml of YOLO %s', async (_, yaml, options, message) => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'data.yaml'), yaml);
  const output = join(folder, 'out.jsonl');
  expectRefusal(await visurf('data', 'import', folder, '--output', output, ...options), 'data.yaml', message);
});
