/**
 * Small sets in the format of every benchmark, to see how folders are laid out, and for tests:
 *   node packages/core/scripts/bench-data.ts [DIR]
 * DIR/NAME is the folder of a benchmark, DIR/NAME.perfect.jsonl the right answer to every question of its first split.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';

import { emptyMask, encodeRle, maskBox, type Mask } from '../src/masks/masks.ts';
import { addCocoPolygon } from '../src/masks/polygons.ts';
import { reasonsegMask } from '../src/benchmarks/reasonseg.ts';
import type { Box, Point } from '../src/types.ts';

const [WIDTH, HEIGHT] = [64, 48];

interface Right {
  readonly id: string;
  readonly text: string;
  readonly mask?: ReturnType<typeof encodeRle>;
}

const write = (folder: string, name: string, content: string | Uint8Array): void => {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
};
const writeJson = (folder: string, name: string, value: unknown): void =>
  write(folder, name, JSON.stringify(value, undefined, 1));

async function writePicture(folder: string, name: string): Promise<void> {
  const picture = sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background: '#567' } });
  write(folder, name, await (name.endsWith('.png') ? picture.png() : picture.jpeg()).toBuffer());
}

async function writeMask(folder: string, name: string, { width, height, data }: Mask): Promise<void> {
  const bytes = data.map((value) => (value === 0 ? 0 : 255));
  write(
    folder,
    name,
    await sharp(bytes, { raw: { width, height, channels: 1 } })
      .png()
      .toBuffer(),
  );
}

const found = (boxes: readonly Box[]): string =>
  `<think> here</think><answer>${JSON.stringify(boxes.map((box) => ({ bbox_2d: box, point_2d: centre(box) })))}</answer>`;
const centre = ([x0, y0, x1, y1]: Box): Point => [(x0 + x1) / 2, (y0 + y1) / 2];
const clicked = (point: Point): string => `<think> here</think><answer>[{"point_2d": [${point.join(', ')}]}]</answer>`;
const said = (text: string): string => `<think> read</think><answer>${text}</answer>`;

const square = ([x0, y0, x1, y1]: Box): number[] => [x0, y0, x1, y0, x1, y1, x0, y1];

function maskOf(boxes: readonly Box[]): Mask {
  const mask = emptyMask(WIDTH, HEIGHT);
  for (const box of boxes) addCocoPolygon(mask, square(box));
  return mask;
}

/** RefCOCO and its kin: polygons, runs of both kinds, several objects, none. */
async function referring(folder: string, name: string, file: string): Promise<Right[]> {
  const boxes: Box[] = [
    [4, 4, 20, 20],
    [30, 10, 50, 40],
    [2, 30, 22, 46],
  ];
  const shapes = [[square(boxes[0]!)], encodeRle(maskOf([boxes[1]!])), [square(boxes[2]!)]];
  const annotations = boxes.map(([x0, y0, x1, y1], i) => ({
    ...{
      id: i + 1,
      image_id: 1,
      category_id: 1,
      bbox: [x0, y0, x1 - x0, y1 - y0],
      area: (x1 - x0) * (y1 - y0),
      iscrowd: 0,
    },
    segmentation: shapes[i],
  }));
  const picture = 'COCO_train2014_000000000001.jpg';
  const images = [{ id: 1, file_name: picture, width: WIDTH, height: HEIGHT }];
  writeJson(folder, `${name}/instances.json`, { images, annotations, categories: [{ id: 1, name: 'thing' }] });
  await writePicture(folder, `images/train2014/${picture}`);
  const absent = name === 'grefcoco';
  const asked: { ids: number[]; sents: string[] }[] = [
    { ids: [1], sents: ['left thing', 'the first one'] },
    { ids: [2], sents: ['tall thing'] },
    ...(absent
      ? [
          { ids: [1, 3], sents: ['both on the left'] },
          { ids: [-1], sents: ['the zebra'] },
        ]
      : []),
  ];
  const rights: Right[] = [];
  const refs = asked.map(({ ids, sents }, ref) => {
    const own = ids.flatMap((id) => (id < 0 ? [] : [boxes[id - 1]!]));
    const sentences = sents.map((sent, i) => ({ raw: sent, sent, sent_id: 10 * ref + i, tokens: sent.split(' ') }));
    for (const { sent_id: id } of sentences)
      rights.push({ id: `${ref}-${id}`, text: found(own), mask: encodeRle(maskOf(own)) });
    const file_name = picture.replace('.jpg', `_${ref}.jpg`);
    const named = { ann_id: absent ? ids : ids[0], category_id: absent ? ids.map(() => 1) : 1 };
    return {
      ...{ ref_id: ref, image_id: 1, split: 'val', file_name, ...named },
      sent_ids: sentences.map(({ sent_id: id }) => id),
      sentences,
    };
  });
  writeJson(folder, `${name}/${file}.json`, refs);
  return rights;
}

async function reasonseg(folder: string): Promise<Right[]> {
  const shapes = [
    { label: 'target', points: square([10, 10, 30, 30]) },
    { label: 'Ignore', points: square([40, 10, 50, 20]) },
    { label: 'flag', points: [0, 0] },
  ].map(({ label, points }) => ({ label, points: pairs(points) }));
  const mask = reasonsegMask(shapes, WIDTH, HEIGHT);
  const own = { ...mask, data: mask.data.map((value) => Number(value === 1)) };
  const rights: Right[] = [];
  for (const [id, isLong] of [
    ['1_a', true],
    ['2_b', false],
  ] as const) {
    writeJson(folder, `val/${id}.json`, {
      text: [isLong ? 'What would one sit on?' : 'seat'],
      is_sentence: isLong,
      shapes,
    });
    await writePicture(folder, `val/${id}.jpg`);
    rights.push({ id, text: found([maskBox(own)!]), mask: encodeRle(own) });
  }
  return rights;
}

const pairs = (flat: readonly number[]): Point[] =>
  flat.flatMap((x, i) => (i % 2 === 0 ? [[x, flat[i + 1]!] as const] : []));

async function omniact(folder: string): Promise<Right[]> {
  const boxes: Record<string, Box> = { save: [10, 10, 20, 15], name: [30, 20, 50, 41] };
  const scripts = [
    'pyautogui.click(15.0,12.5)',
    'pyautogui.click(40.0,30.5)\npyautogui.write("Anna")\npyautogui.press("enter")',
  ];
  const places = { image: 'data/data/web/shop/screen_1.png', box: 'data/metadata/web/boxes/shop/screen_1.json' };
  await writePicture(folder, places.image);
  writeJson(
    folder,
    places.box,
    Object.fromEntries(
      Object.entries(boxes).map(([key, [x0, y0, x1, y1]]) => [key, { top_left: [x0, y0], bottom_right: [x1, y1] }]),
    ),
  );
  const index = scripts.map((script, i) => {
    const task = `data/tasks/web/shop/task_1.${i}.txt`;
    write(folder, task, `Task: Save the form, please.\nOutput Script:\n${script}\n`);
    return [String(i), { task, ...places }] as const;
  });
  writeJson(folder, 'test.json', Object.fromEntries(index));
  return scripts.map((script, i) => ({ id: String(i), text: script }));
}

async function screenspot(folder: string): Promise<Right[]> {
  const rights: Right[] = [];
  for (const platform of ['mobile', 'desktop', 'web']) {
    const items = ['text', 'icon'].map((type, i) => ({
      ...{ img_filename: `${platform}.png`, bbox: [10, 10 + 20 * i, 20, 8], instruction: `open ${type}` },
      ...{ data_type: type, data_source: platform },
    }));
    writeJson(folder, `screenspot_${platform}.json`, items);
    await writePicture(folder, `screenspot_imgs/${platform}.png`);
    items.forEach(({ bbox: [x, y] }, i) => rights.push({ id: `${platform}-${i}`, text: clicked([x! + 20, y! + 8]) }));
  }
  return rights;
}

async function screenspotPro(folder: string): Promise<Right[]> {
  const items = ['text', 'icon'].map((type, i) => ({
    ...{ id: `cad_${i}`, img_filename: 'cad/1.png', bbox: [5, 5 + 20 * i, 9, 9 + 20 * i], img_size: [WIDTH, HEIGHT] },
    ...{ instruction: 'zoom in', ui_type: type, group: 'CAD', application: 'cad', platform: 'windows' },
  }));
  writeJson(folder, 'annotations/cad_windows.json', items);
  await writePicture(folder, 'images/cad/1.png');
  return items.map(({ id, bbox: [x, y] }) => ({ id, text: clicked([x!, y!]) }));
}

async function realiad(folder: string): Promise<Right[]> {
  const rights: Right[] = [];
  for (const category of ['audiojack', 'bottle_cap']) {
    const test = ['OK', 'AK', 'OK', 'PS'].map((kind, i) => ({
      ...{ category, anomaly_class: kind, image_path: `${kind}/S000${i}/${category}_${i}_C1_1.jpg` },
      mask_path: kind === 'OK' ? null : `${kind}/S000${i}/${category}_${i}_C1_1.png`,
    }));
    for (const { image_path: image, mask_path: mask } of test) {
      await writePicture(folder, `realiad_1024/${category}/${image}`);
      if (mask !== null) await writeMask(folder, `realiad_1024/${category}/${mask}`, maskOf([[8, 8, 12, 12]]));
      rights.push({ id: `${category}/${image}`, text: said(mask === null ? 'no' : 'yes') });
    }
    writeJson(folder, `realiad_jsons/${category}.json`, {
      meta: { prefix: `${category}/`, normal_class: 'OK' },
      train: [],
      test,
    });
  }
  return rights;
}

async function isic(folder: string): Promise<Right[]> {
  const rights: Right[] = [];
  for (const [i, box] of (
    [
      [8, 8, 40, 30],
      [20, 10, 60, 44],
    ] as Box[]
  ).entries()) {
    const [id, mask] = [`ISIC_000000${i}`, maskOf([box])];
    await writePicture(folder, `ISIC2018_Task1-2_Test_Input/${id}.jpg`);
    await writeMask(folder, `ISIC2018_Task1_Test_GroundTruth/${id}_segmentation.png`, mask);
    rights.push({ id, text: found([maskBox(mask)!]), mask: encodeRle(mask) });
  }
  return rights;
}

async function mathvista(folder: string): Promise<Right[]> {
  const metadata = {
    ...{
      split: 'testmini',
      language: 'english',
      source: 'GEOS',
      category: 'math-targeted-vqa',
      task: 'geometry problem solving',
    },
    ...{ context: 'geometry diagram', grade: 'high school', skills: ['geometry reasoning', 'algebraic reasoning'] },
  };
  const common = { unit: null, precision: null, choices: null, metadata };
  const entries = {
    1: {
      ...common,
      answer: '12 cm',
      question_type: 'multi_choice',
      answer_type: 'text',
      choices: ['10 cm', '12 cm', '15 cm', '20 cm'],
    },
    2: { ...common, answer: '7', question_type: 'free_form', answer_type: 'integer', unit: 'years' },
    3: { ...common, answer: '1.2', question_type: 'free_form', answer_type: 'float', precision: 1 },
    4: { ...common, answer: '[2014, 2016]', question_type: 'free_form', answer_type: 'list' },
  };
  const full = Object.entries(entries).map(([pid, entry]) => [
    pid,
    { pid, question: 'How much?', image: `images/${pid}.jpg`, ...entry },
  ]);
  writeJson(folder, 'data/testmini.json', Object.fromEntries(full));
  for (const pid of Object.keys(entries)) await writePicture(folder, `images/${pid}.jpg`);
  return ['B', '7', '1.2', '[2014, 2016]'].map((answer, i) => ({
    id: String(i + 1),
    text: `<think> so</think>\\boxed{${answer}}`,
  }));
}

async function chartqa(folder: string): Promise<Right[]> {
  const rights: Right[] = [];
  for (const type of ['human', 'augmented']) {
    const items = ['10', 'Yes'].map((label, i) => ({ imgname: `${type}_${i}.png`, query: 'What is it?', label }));
    writeJson(folder, `test/test_${type}.json`, items);
    for (const { imgname } of items) await writePicture(folder, `test/png/${imgname}`);
    items.forEach(({ label }, i) => rights.push({ id: `${type}-${i}`, text: said(label) }));
  }
  return rights;
}

async function docvqa(folder: string): Promise<Right[]> {
  const data = [['hello world'], ['2010', 'year 2010']].map((answers, i) => ({
    ...{
      questionId: 100 + i,
      question: 'What is written?',
      image: `documents/page_${i}.png`,
      docId: i,
      answers,
      data_split: 'val',
    },
  }));
  const about = { dataset_name: 'SP-DocVQA', dataset_split: 'val', dataset_version: '1.0' };
  writeJson(folder, 'val_v1.0.json', { ...about, data });
  for (const { image } of data) await writePicture(folder, image);
  return data.map(({ questionId, answers }) => ({ id: String(questionId), text: said(answers[0]!) }));
}

async function pope(folder: string): Promise<Right[]> {
  const rights: Right[] = [];
  await writePicture(folder, 'val2014/COCO_val2014_000000000001.jpg');
  for (const name of ['random', 'popular', 'adversarial']) {
    const items = ['yes', 'no'].map((label, i) => ({
      ...{ question_id: i + 1, image: 'COCO_val2014_000000000001.jpg', text: 'Is there a dog in the image?', label },
    }));
    write(folder, `output/coco/coco_pope_${name}.json`, items.map((item) => `${JSON.stringify(item)}\n`).join(''));
    items.forEach(({ question_id: id, label }) => rights.push({ id: `${name}-${id}`, text: said(label) }));
  }
  return rights;
}

const MAKERS: Record<string, (folder: string) => Promise<Right[]>> = {
  grefcoco: (folder) => referring(folder, 'grefcoco', 'grefs(unc)'),
  refcoco: (folder) => referring(folder, 'refcoco', 'refs(unc)'),
  'refcoco+': (folder) => referring(folder, 'refcoco+', 'refs(unc)'),
  refcocog: (folder) => referring(folder, 'refcocog', 'refs(umd)'),
  ...{ reasonseg, omniact, screenspot, 'screenspot-pro': screenspotPro, realiad, isic2018: isic },
  ...{ mathvista, chartqa, docvqa, pope },
};

/** Makes the sets, or one of them. */
export async function makeBenchData(directory: string, names = Object.keys(MAKERS)): Promise<void> {
  for (const name of names) {
    const rights = await MAKERS[name]!(path.join(directory, name));
    write(directory, `${name}.perfect.jsonl`, rights.map((each) => `${JSON.stringify(each)}\n`).join(''));
  }
}

if (process.argv[1] === import.meta.filename) {
  const directory = process.argv[2] ?? mkdtempSync(path.join(tmpdir(), 'visurf-bench-'));
  await makeBenchData(directory);
  console.log(`${Object.keys(MAKERS).length} sets are in ${directory}`);
}
