/** Rows with videos from the file to the resumed training, and what other trainers' records make of them. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { expectRefusal, temporaryFolder, tinyModel, visurf, visurfJson } from './cli.ts';
import { linesOf } from './training.ts';

/** A grey square on the move, six frames. */
async function makeFrames(folder: string): Promise<string[]> {
  mkdirSync(join(folder, 'clip'));
  const names = Array.from({ length: 6 }, (_, i) => `clip/${i}.png`);
  for (const [i, name] of names.entries()) {
    const square = { create: { width: 12, height: 12, channels: 3, background: '#888888' } } as const;
    await sharp({ create: { width: 60, height: 40, channels: 3, background: '#204080' } })
      .composite([{ input: await sharp(square).png().toBuffer(), left: 8 * i, top: 10 }])
      .toFile(join(folder, name));
  }
  return names;
}

const answer = { task: 'answer', solution: 'right' };

async function makeFolder(): Promise<string> {
  const folder = temporaryFolder();
  const frames = await makeFrames(folder);
  const rows = [
    { id: 'clip', video: frames, fps: 2, problem: 'where does it go?', ...answer },
    { id: 'placed', video: frames.slice(0, 3), fps: 4, problem: 'in <video>, where does it go?', ...answer },
    { id: 'both', image: 'clip/0.png', video: frames, fps: 1, problem: 'from <image>, where in <video>?', ...answer },
    { id: 'two', video: [frames.slice(0, 2), frames.slice(2)], fps: [1, 2], problem: 'and then?', ...answer },
    { id: 'words', problem: 'which way is east?', ...answer },
    { id: 'still', image: 'clip/3.png', problem: 'where is it?', ...answer },
  ];
  writeFileSync(join(folder, 'train.jsonl'), linesOf(rows));
  writeFileSync(
    join(folder, 'config.yaml'),
    `model: ${tinyModel}\noutput: run\nsteps: 3\npromptsPerStep: 2\ndata:\n  train: train.jsonl\n  validation: train.jsonl\n` +
      'eval: { every: 3 }\ncheckpoint: { every: 2, keep: 9 }\nrollout: { group: 2, maxNewTokens: 4 }\n',
  );
  return folder;
}

test('rows with videos are checked, shown, split, trained on, evaluated and resumed to the same bits', async () => {
  const [folder, other] = [await makeFolder(), await makeFolder()];
  const file = join(folder, 'train.jsonl');
  expect(await visurfJson('data', 'check', file)).toMatchObject({ n: 6, images: 6, findings: [] });
  const page = join(folder, 'page.html');
  await visurfJson('data', 'preview', file, '--output', page);
  expect(readFileSync(page, 'utf8').match(/data:image\/webp/g)!.length).toBe(6 + 3 + 7 + 6 + 1);
  const output = join(folder, 'copy/train.jsonl');
  await visurfJson('data', 'import', file, '--output', output);
  const [first] = readFileSync(output, 'utf8').split('\n');
  expect(JSON.parse(first!)).toMatchObject({ video: Array.from({ length: 6 }, (_, i) => `../clip/${i}.png`), fps: 2 });
  expect(await visurfJson('data', 'check', output)).toMatchObject({ n: 6, findings: [] });

  const train = (place: string, ...args: string[]) => visurfJson('train', join(place, 'config.yaml'), ...args);
  await train(folder);
  await train(other, 'steps=2');
  await train(other, 'steps=3', '--resume');
  for (const name of ['groups/000003.jsonl', 'evaluations/000003.jsonl', 'checkpoints/000003/model.safetensors']) {
    const [a, b] = [folder, other].map((each) => readFileSync(join(each, 'run', name)));
    expect(a!.equals(b!), name).toBe(true);
  }
  const met = readFileSync(join(folder, 'run/samples.jsonl'), 'utf8').trim().split('\n');
  const records = met.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(records.find(({ id }) => id === 'both')).toMatchObject({
    images: [{ width: 60, height: 40 }],
    videos: [{ fps: 1, frames: Array.from({ length: 6 }, () => ({ width: 60, height: 40 })) }],
    prompt: expect.stringMatching(/from .*image_pad.*, where in .*video_pad.*\?/) as string,
  });
  const shown = records.flatMap(({ videos = [] }) => videos as { frames: { path: string }[] }[]);
  for (const { frames } of shown)
    for (const { path } of frames) expect(existsSync(join(folder, 'run', path))).toBe(true);
}, 240_000);

test('what is no video says what to do', async () => {
  const folder = await makeFolder();
  const frames = ['clip/0.png', 'clip/1.png'];
  const file = join(folder, 'bad.jsonl');
  await sharp({ create: { width: 20, height: 20, channels: 3, background: '#000000' } }).toFile(join(folder, 'small.png')); // prettier-ignore
  const cases: [object, RegExp][] = [
    [{ video: 'clip.mp4', fps: 2 }, /the video clip\.mp4 is a file, which is not opened: extract its frames/],
    [{ video: frames }, /missing field fps/],
    [{ video: frames, fps: 0 }, /fps must be a number above 0/],
    [{ video: frames, fps: '2' }, /fps must be a number above 0/],
    [{ video: [], fps: 2 }, /video must be a list of paths of frames/],
    [{ video: [frames, frames], fps: [1, 2, 3] }, /3 numbers of fps for 2 videos/],
    [{ video: [...frames, 'clip/none.png'], fps: 2 }, /image file not found: .*none\.png/],
    [{ video: ['../outside.png'], fps: 2 }, /image lies outside of the data folder/],
    [{ video: frames, fps: 2, problem: '<video> or <video>?' }, /2 <video> for 1 video/],
  ];
  for (const [fields, message] of cases) {
    writeFileSync(file, linesOf([{ problem: 'what?', ...answer, ...fields }]));
    const { code, stderr } = await visurf('data', 'check', file);
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
  }
  writeFileSync(file, linesOf([{ video: ['clip/0.png', 'small.png'], fps: 2, problem: 'what?', ...answer }]));
  const trained = await visurf('train', join(folder, 'config.yaml'), `data.train=${file}`, '--json');
  expectRefusal(trained, /a frame of 20 x 20 pixels in a video of 60 x 40/);
}, 120_000);

test('videos of other trainers: frames are read, files refused', async () => {
  const folder = await makeFolder();
  const frames = ['clip/0.png', 'clip/1.png', 'clip/2.png'];
  const file = join(folder, 'theirs.json');
  const output = join(folder, 'ours.jsonl');
  const read = async (record: object): Promise<unknown> => {
    writeFileSync(file, JSON.stringify([record]));
    await visurfJson('data', 'import', file, '--output', output);
    return JSON.parse(readFileSync(output, 'utf8').trim());
  };
  const turns = (text: string) => [
    { role: 'user', content: text },
    { role: 'assistant', content: 'right' },
  ];
  const llava = [
    { from: 'human', value: '<video>\nwhere to?' },
    { from: 'gpt', value: 'right' },
  ];
  const expected = { video: frames, fps: 2, problem: 'where to?', solution: 'right' };
  // LLaMA-Factory, ms-swift, Qwen-VL finetuning, Hugging Face's messages, columns.
  expect(await read({ messages: turns('<video>where to?'), videos: [frames] })).toMatchObject(expected);
  expect(await read({ query: '<video>where to?', response: 'right', videos: [frames] })).toMatchObject(expected);
  expect(await read({ conversations: llava, video: frames })).toMatchObject(expected);
  expect(await read({ conversations: llava, videos: [frames], fps: 4 })).toMatchObject({ ...expected, fps: 4 });
  const parts = [{ type: 'video', video: frames, fps: 3 }, { type: 'text', text: 'where to?' }]; // prettier-ignore
  const messages = [{ role: 'user', content: parts }, turns('')[1]];
  expect(await read({ messages })).toMatchObject({ ...expected, fps: 3 });
  expect(await read({ question: 'where to?', answer: 'right', video: frames })).toMatchObject(expected);
  for (const record of [
    { messages: turns('<video>where to?'), videos: ['clip.mp4'] },
    { query: '<video>where to?', response: 'right', videos: ['clip.mp4'] },
    { conversations: llava, video: 'clip.mp4' },
    { messages: [{ role: 'user', content: [{ type: 'video', video: 'clip.mp4' }, parts[1]] }, turns('')[1]] },
    { question: 'where to?', answer: 'right', video: 'clip.mp4' },
  ]) {
    writeFileSync(file, JSON.stringify([record]));
    expectRefusal(await visurf('data', 'import', file, '--output', output), /extract its frames/);
  }
}, 120_000);
