/** Training data of other formats through the command line: handmade sets everywhere, real ones where they lie beside the repository. */
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { expect, test } from 'vitest';
import { expectRefusal, fixtures, root, temporaryFolder, visurf, visurfJson } from './cli.ts';
import { eventsOf, good, linesOf, makeFolder } from './training.ts';

const REAL = ['../shared/data', '../../shared/data']
  .map((place) => resolve(root, place))
  .find((place) => existsSync(place));

interface Row {
  readonly image: string | string[];
  readonly problem: string;
  readonly solution: { readonly bbox_2d: number[] }[] | string;
  readonly task?: string;
  readonly class?: string;
}

const rowsOf = (file: string): Row[] =>
  readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);

const put = (folder: string, name: string, content: unknown): void => {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
};

/** A set of one picture of 40 x 40 pixels, `a.png`, with a cat at [4, 8, 20, 24]. */
const SETS: Record<string, Record<string, unknown>> = {
  coco: {
    'set.json': {
      images: [{ id: 1, file_name: 'a.png', width: 40, height: 40 }],
      categories: [
        { id: 0, name: 'animals', supercategory: 'none' },
        { id: 1, name: 'cat', supercategory: 'animals' },
      ],
      annotations: [{ image_id: 1, category_id: 1, bbox: [4, 8, 16, 16] }],
    },
  },
  voc: {
    'a.xml':
      '<annotation><filename>a.png</filename><object><name>cat</name><bndbox><xmin>4</xmin><ymin>8</ymin>' +
      '<xmax>20</xmax><ymax>24</ymax></bndbox></object></annotation>',
  },
  cvat: {
    'annotations.xml':
      '<annotations><image name="a.png"><box label="cat" xtl="4" ytl="8" xbr="20" ybr="24"/></image></annotations>',
  },
  yolo: { 'data.yaml': 'train: .\nnames: [cat]\n', 'a.txt': '0 0.3 0.4 0.4 0.4\n' },
  via: {
    'via.json': {
      a: {
        filename: 'a.png',
        regions: [
          { shape_attributes: { name: 'rect', x: 4, y: 8, width: 16, height: 16 }, region_attributes: { c: 'cat' } },
        ],
      },
    },
  },
  labelme: {
    'a.json': {
      imagePath: 'a.png',
      shapes: [
        {
          label: 'cat',
          points: [
            [20, 24],
            [4, 8],
          ],
        },
      ],
    },
  },
  'label-studio': {
    'tasks.json': [
      {
        data: { image: '/data/upload/1/0123abcd-a.png' },
        annotations: [
          {
            result: [
              {
                ...{ original_width: 40, original_height: 40 },
                value: { x: 10, y: 20, width: 40, height: 40, rectanglelabels: ['cat'] },
              },
            ],
          },
        ],
      },
    ],
  },
  createml: {
    'set.json': [
      { image: 'a.png', annotations: [{ label: 'cat', coordinates: { x: 12, y: 16, width: 16, height: 16 } }] },
    ],
  },
  csv: { 'boxes.csv': 'filename,class,xmin,xmax,ymin,ymax\na.png,cat,4,20,8,24\n' },
  imagefolder: {
    'metadata.jsonl': { file_name: 'a.png', objects: { bbox: [[4, 8, 16, 16]], categories: ['cat'] } },
  },
  visurf: { 'all.json': [{ ...good, problem: 'cat', solution: [{ bbox_2d: [4, 8, 20, 24] }] }] },
  llava: {
    'train.json': [
      {
        image: 'a.png',
        conversations: [
          { from: 'human', value: 'cat\n<image>' },
          { from: 'gpt', value: '[4, 8, 20, 24]' },
        ],
      },
    ],
  },
  'vlm-r1': {
    'train.jsonl': {
      image: ['a.png'],
      conversations: [
        { from: 'human', value: 'cat' },
        { from: 'gpt', value: '<think>there</think><answer>[{"bbox_2d": [4, 8, 20, 24]}]</answer>' },
      ],
    },
  },
  sharegpt: {
    'train.json': [
      {
        messages: [
          { role: 'user', content: '<image>cat' },
          { role: 'assistant', content: '<box>(4,8),(20,24)</box>' },
        ],
        images: ['a.png'],
      },
    ],
  },
  openai: {
    'train.jsonl': {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: { url: 'a.png' } },
            { type: 'text', text: 'cat' },
          ],
        },
        { role: 'assistant', content: '[[4, 8, 20, 24]]' },
      ],
    },
  },
  'ms-swift': {
    'train.jsonl': {
      messages: [
        { role: 'user', content: '<image><ref-object>' },
        { role: 'assistant', content: '<bbox>' },
      ],
      images: ['a.png'],
      objects: { ref: ['cat'], bbox: [[100, 200, 500, 600]], bbox_type: 'norm1000' },
    },
  },
  questions: { 'q.jsonl': { image: 'a.png', question: 'cat', answer: '[{"bbox_2d": [4, 8, 20, 24]}]' } },
};

function makeSet(name: string): string {
  const folder = temporaryFolder();
  copyFileSync(join(fixtures, 'images/small-40x40.png'), join(folder, 'a.png'));
  for (const [file, content] of Object.entries(SETS[name]!)) put(folder, file, content);
  return folder;
}

test.each(Object.keys(SETS))('%s is found out and written as our JSONL', async (name) => {
  const folder = makeSet(name);
  const output = join(folder, 'out/train.jsonl');
  const { format, n } = await visurfJson<{ format: string; n: number }>('data', 'import', folder, '--output', output);
  expect([format, n]).toEqual([name, 1]);
  const [row] = rowsOf(output);
  expect(row).toMatchObject({ image: '../a.png', problem: 'cat', solution: [{ bbox_2d: [4, 8, 20, 24] }] });
});

test('training takes a set as it is, and says how it was read', async () => {
  const set = makeSet('coco');
  const folder = await makeFolder({});
  const config = readFileSync(join(folder, 'config.yaml'), 'utf8').replace('train.jsonl', join(set, 'set.json'));
  writeFileSync(join(folder, 'config.yaml'), config);
  const { code, stderr } = await visurf('train', join(folder, 'config.yaml'));
  expect([code, stderr.includes('error')]).toEqual([0, false]);
});

test('a share of the training samples is held out', async () => {
  const folder = await makeFolder({ lines: [good, { ...good, id: 'other', image: 'b.png' }] });
  copyFileSync(join(fixtures, 'images/flat-90x60.png'), join(folder, 'b.png'));
  const args = ['train', join(folder, 'config.yaml'), 'data.validation=50%', 'eval.every=1'];
  const { code, stderr } = await visurf(...args);
  expect([code, stderr.includes('error')]).toEqual([0, false]);
  const events = eventsOf(join(folder, 'run'));
  expect(events.some(({ type }) => String(type).startsWith('eval'))).toBe(true);
  expectRefusal(await visurf(...args, 'data.validation=0%'), 'a share must be above 0%');
});

test('several sets are checked, planned and trained on by weight, and a resume knows each', async () => {
  const other = { ...good, id: 'other' };
  const folder = await makeFolder({ lines: [good] });
  const [config, set] = [join(folder, 'config.yaml'), join(folder, 'other.jsonl')];
  writeFileSync(set, `${JSON.stringify(other)}\n`);
  const text = readFileSync(config, 'utf8');
  const train = (weight: number): string => `data.train=[${folder}/train.jsonl, {file: ${set}, weight: ${weight}}]`;
  writeFileSync(
    config,
    text.replace(/train: \S*train\.jsonl/, 'train: [train.jsonl, { file: other.jsonl, weight: 3 }]'),
  );
  expect(await visurfJson('data', 'check', '--config', config)).toMatchObject({ n: 2 });
  expectRefusal(await visurf('data', 'check'), "missing required argument 'file'");
  expect(await visurfJson('plan', config)).toMatchObject({ fits: true });
  expect((await visurf('train', config)).code).toBe(0);
  expect((await visurf('train', config, '--resume')).code).toBe(0);
  expectRefusal(await visurf('train', config, train(2), '--resume'), 'data.train');
  writeFileSync(set, `${JSON.stringify(other)}\n${JSON.stringify({ ...other, id: 'third' })}\n`);
  expectRefusal(await visurf('train', config, '--resume'), 'other.jsonl: ', '1 samples were appended');
  expectRefusal(await visurf('train', config, train(0)), 'data.train.1.weight');
});

test('every class is asked for in every picture, but not one that may be there unmarked', async () => {
  const folder = temporaryFolder();
  for (const name of ['a', 'b', 'c'])
    copyFileSync(join(fixtures, 'images/small-40x40.png'), join(folder, `${name}.png`));
  put(folder, 'set.json', {
    images: ['a', 'b', 'c'].map((name, id) => ({ id, file_name: `${name}.png`, width: 40, height: 40 })),
    categories: [
      { id: 1, name: 'cat' },
      { id: 2, name: 'dog' },
    ],
    annotations: [
      { image_id: 0, category_id: 1, bbox: [4, 8, 16, 16] },
      { image_id: 1, category_id: 1, bbox: [4, 8, 16, 16], iscrowd: 1 },
      { image_id: 1, category_id: 2, segmentation: [[1, 1, 9, 1, 9, 9]] },
    ],
  });
  const output = join(folder, 'train.jsonl');
  const { stderr, code } = await visurf(
    ...['data', 'import', join(folder, 'set.json'), '--output', output, '--ask', 'find,count,exists'],
  );
  expect(code).toBe(0);
  expect(stderr).toContain('3 of 6 times an image does not show a class ([]): dog 2, cat 1');
  const rows = rowsOf(output);
  const asked = (image: string, name: string) => rows.filter((row) => row.image === image && row.class === name);
  expect(asked('b.png', 'cat')).toEqual([]);
  expect(asked('a.png', 'cat').map(({ solution }) => solution)).toEqual([[{ bbox_2d: [4, 8, 20, 24] }], '1', 'yes']);
  expect(asked('b.png', 'dog')[0]!.solution).toEqual([{ bbox_2d: [1, 1, 9, 9] }]);
  expect(asked('c.png', 'dog').map(({ solution }) => solution)).toEqual([[], '0', 'no']);
  const { n } = await visurfJson<{ n: number }>('data', 'check', output);
  expect(n).toBe(15);
});

test.each([
  [
    'a record that is none',
    { 'a.jsonl': '{"image": "a.png", "question": "x", "answer": "y"}\n{"image": 3}\n' },
    /a\.jsonl:2: /,
  ],
  ['malformed JSON', { 'a.json': '[{"image": "a.png", "question": "x", "answer": "y"}, ' }, /a\.json: malformed JSON/],
  ['no picture', { 'a.csv': 'filename,class,xmin,ymin,xmax,ymax\nb.png,cat,1,2,3,4\n' }, /b\.png/],
  ['an unknown format', { 'a.json': '{"x": 1}' }, /--format/],
  [
    'shares among pixels',
    { 'a.csv': 'filename,class,xmin,ymin,xmax,ymax\na.png,cat,1,2,30,40\na.png,dog,0.1,0.2,0.5,0.6\n' },
    /a\.csv:2: .*--units/,
  ],
  [
    'boxes out of the picture',
    { 'a.csv': 'filename,class,xmin,ymin,xmax,ymax\na.png,cat,100,200,500,600\n' },
    /--units/,
  ],
  [
    'a class that is not named',
    { 'data.yaml': 'train: .\nnames: [cat]\n', 'a.txt': '7 0.5 0.5 0.1 0.1\n' },
    /a\.txt:1: .*class 7/,
  ],
])('a failed import leaves nothing: %s', async (_, files, says) => {
  const folder = temporaryFolder();
  copyFileSync(join(fixtures, 'images/small-40x40.png'), join(folder, 'a.png'));
  for (const [name, content] of Object.entries(files)) put(folder, name, content);
  const [name] = Object.keys(files);
  const source = name === 'data.yaml' ? folder : join(folder, name!);
  const before = readdirSync(folder);
  expectRefusal(await visurf('data', 'import', source, '--output', join(folder, 'out/deep/train.jsonl')), says);
  expect(readdirSync(folder)).toEqual(before);
});

test('what training shares with validation is found, and split keeps it together', async () => {
  const folder = temporaryFolder();
  const names = ['a.png', 'b.png', 'c_png.rf.0123456789abcdef.png', 'c_png.rf.fedcba9876543210.png'];
  const pictures = ['small-40x40', 'flat-90x60', 'tall-45x160', 'wide-150x62'];
  names.forEach((name, i) => copyFileSync(join(fixtures, `images/${pictures[i]!}.png`), join(folder, name)));
  copyFileSync(join(folder, 'a.png'), join(folder, 'again.png'));
  const row = (image: string, id: string) => ({ id, image, problem: 'cat', solution: [] });
  put(
    folder,
    'train.jsonl',
    linesOf([row('a.png', '1'), row('c_png.rf.0123456789abcdef.png', '2'), row('a.png', '3')]),
  );
  put(folder, 'validation.jsonl', linesOf([row('again.png', '4'), row('c_png.rf.fedcba9876543210.png', '5')]));
  const [train, validation] = [join(folder, 'train.jsonl'), join(folder, 'validation.jsonl')];
  const { findings } = await visurfJson<{ findings: { kind: string; lines?: number[]; line?: number }[] }>(
    ...['data', 'check', train, '--validation', validation],
  );
  expect(findings.filter(({ kind }) => kind === 'leak').map(({ line, lines }) => lines ?? [line])).toEqual([
    [1, 3],
    [2],
  ]);
  expect(findings.some(({ kind }) => kind === 'orphan')).toBe(true);
  put(
    folder,
    'all.jsonl',
    readFileSync(train, 'utf8') + readFileSync(validation, 'utf8') + linesOf([row('b.png', '6')]),
  );
  const parts = join(folder, 'parts');
  await visurfJson(
    'data',
    'split',
    join(folder, 'all.jsonl'),
    '--output',
    parts,
    '--validation',
    '30%',
    '--test',
    '20%',
  );
  const owners = new Map<string, Set<string>>();
  for (const part of ['train', 'validation', 'test']) {
    for (const { image } of rowsOf(join(parts, `${part}.jsonl`))) {
      const key = String(image)
        .replace('again', 'a')
        .replace(/\.rf\..*/, '');
      owners.set(key, (owners.get(key) ?? new Set()).add(part));
    }
  }
  expect([...owners.values()].map((found) => found.size)).toEqual([1, 1, 1]);
});

test('a preview draws boxes and escapes texts', async () => {
  const folder = await makeFolder({ lines: [{ ...good, problem: '<script>alert(1)</script>' }] });
  const page = join(folder, 'page.html');
  const { shown } = await visurfJson<{ shown: number }>(
    'data',
    'preview',
    join(folder, 'train.jsonl'),
    '--output',
    page,
  );
  const html = readFileSync(page, 'utf8');
  expect([shown, html.includes('<script')]).toEqual([1, false]);
  expect(html).toContain('<rect x="1" y="2" width="29" height="29"/>');
});

/** Real sets: options, format, samples, pictures. */
const SOURCES: readonly (readonly [string, readonly string[], string, number, number])[] = [
  ['blood-cells-voc/BCCD', ['--split', 'train'], 'voc', 615, 205],
  ['blood-cells-voc/all_boxes.csv', [], 'csv', 1092, 364],
  ['blood-cells-roboflow-coco', ['--split', 'valid'], 'coco', 40, 20],
  ['coco128-yolo/object_detection', [], 'yolo', 3840, 48],
  ['coco128-yolo/instance_segmentation', [], 'yolo', 3840, 48],
  ['coco128-yolo/panoptic_segmentation', ['--split', 'val'], 'coco', 2926, 22],
  ['nuts-coco-polygons', [], 'coco', 54, 18],
  ['raccoon-voc-csv/annotations', [], 'voc', 167, 167],
  ['raccoon-voc-csv/data/raccoon_labels.csv', [], 'csv', 167, 167],
  ['licence-plates-voc/annots', [], 'voc', 6, 6],
  ['photos-exif/fridge-voc', [], 'voc', 24, 6],
  ['photos-exif/via/via_bbox.json', [], 'via', 10, 2],
  ['training-formats/qwen-vl-finetune/single_images.json', [], 'llava', 3, 2],
  ['format-fixtures/labelme_dataset', [], 'labelme-xml', 7, 1],
  ['format-fixtures/kaggle_dataset/image_csv_det/ann3.csv', [], 'csv', 6, 3],
  ['format-fixtures/roboflow_dataset/yolo_obb', [], 'yolo', 6, 3],
];

test.skipIf(REAL === undefined).each(SOURCES)('the real set %s', async (place, options, format, n, images) => {
  const output = join(temporaryFolder(), 'train.jsonl');
  const found = await visurfJson<Record<string, unknown>>(
    ...['data', 'import', join(REAL!, place), '--output', output, ...options],
  );
  expect([found['format'], found['n'], found['images']]).toEqual([format, n, images]);
});

test.skipIf(REAL === undefined).each([
  ['vlm-r1/gui_multi-image.jsonl', 'GOOGLE_APPS'],
  ['llava/caps_boxes_coco2014_val_80.jsonl', '000000296284.jpg'],
  ['pope/coco_pope_adversarial.json', 'COCO_val2014'],
  ['mathvista/testmini.json', 'images/1.jpg'],
  ['ms-swift/multi_modal_2.jsonl', 'download it'],
  ['openai/vision_finetuning.jsonl', 'download it'],
])('pictures that are not there are named: %s', async (place, name) => {
  const output = join(temporaryFolder(), 'train.jsonl');
  expectRefusal(await visurf('data', 'import', join(REAL!, 'training-formats', place), '--output', output), name);
  expect(existsSync(output)).toBe(false);
});

type SchemaElement = NonNullable<Parameters<typeof parquetWriteBuffer>[0]['schema']>[number];

/** The nuts: photographs with outlines. */
const NUTS = join(REAL ?? '', 'nuts-coco-polygons/data');

interface Nuts {
  readonly images: readonly {
    readonly id: number;
    readonly file_name: string;
    readonly width: number;
    readonly height: number;
  }[];
  readonly annotations: readonly {
    readonly image_id: number;
    readonly category_id: number;
    readonly bbox: readonly [number, number, number, number];
    readonly segmentation: readonly (readonly number[])[];
  }[];
  readonly categories: readonly { readonly id: number; readonly name: string }[];
}

/** The same photographs and boxes as another tool has them. */
const AS: Record<
  string,
  (
    folder: string,
    nuts: Nuts,
    objects: (image: number) => { name: string; box: readonly number[]; outline: readonly number[] }[],
  ) => void
> = {
  labelme(folder, { images }, objects) {
    for (const { id, file_name: name, width, height } of images) {
      copyFileSync(join(NUTS, 'images', basename(name)), join(folder, basename(name)));
      const shapes = objects(id).map(({ name: label, outline }) => ({
        ...{ label, shape_type: 'polygon', group_id: null, flags: {} },
        points: Array.from({ length: outline.length / 2 }, (_, i) => outline.slice(2 * i, 2 * i + 2)),
      }));
      const rest = { version: '5.2.1', flags: {}, imageData: null, imageWidth: width, imageHeight: height };
      put(folder, `${basename(name, '.jpg')}.json`, { ...rest, imagePath: basename(name), shapes });
    }
  },
  imagefolder(folder, { images }, objects) {
    const lines = images.map(({ id, file_name: name }) => {
      copyFileSync(join(NUTS, 'images', basename(name)), join(folder, basename(name)));
      const own = objects(id);
      return {
        file_name: basename(name),
        objects: { bbox: own.map(({ box }) => box), categories: own.map((each) => each.name) },
      };
    });
    put(folder, 'metadata.jsonl', linesOf(lines));
  },
  parquet(folder, { images }, objects) {
    const rows = images.map(({ id, file_name: name }) => ({
      image: { bytes: readFileSync(join(NUTS, 'images', basename(name))), path: basename(name) },
      objects: { bbox: objects(id).map(({ box }) => [...box]), category: objects(id).map((each) => each.name) },
    }));
    const list = (name: string): SchemaElement[] => [
      { name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    ];
    const leaf = (name: string, type: SchemaElement['type']) =>
      ({ name, type: type!, repetition_type: 'OPTIONAL' }) as const;
    const struct = (name: string, count: number) =>
      ({ name, repetition_type: 'OPTIONAL', num_children: count }) as const;
    const bytes = parquetWriteBuffer({
      columnData: (['image', 'objects'] as const).map((name) => ({
        name,
        data: rows.map((row) => row[name]) as unknown as string[],
      })),
      schema: [
        { name: 'root', num_children: 2 },
        ...[
          struct('image', 2),
          leaf('bytes', 'BYTE_ARRAY'),
          { ...leaf('path', 'BYTE_ARRAY'), converted_type: 'UTF8' as const },
        ],
        ...[struct('objects', 2), ...list('bbox'), ...list('element'), leaf('element', 'DOUBLE')],
        ...[...list('category'), { ...leaf('element', 'BYTE_ARRAY'), converted_type: 'UTF8' as const }],
      ],
    });
    writeFileSync(join(folder, 'train-00000-of-00001.parquet'), new Uint8Array(bytes));
  },
};

test.skipIf(REAL === undefined).each(Object.keys(AS))(
  'real photographs with boxes as %s has them: the same as from COCO',
  async (format) => {
    const nuts = JSON.parse(readFileSync(join(NUTS, 'trainval.json'), 'utf8')) as Nuts;
    const names = new Map(nuts.categories.map(({ id, name }) => [id, name]));
    const folder = temporaryFolder();
    AS[format]!(folder, nuts, (image) =>
      nuts.annotations
        .filter(({ image_id }) => image_id === image)
        .map(({ category_id: id, bbox: box, segmentation }) => ({
          name: names.get(id)!,
          box,
          outline: segmentation.flat(),
        })),
    );
    const rows = async (source: string, kind: string) => {
      const output = join(temporaryFolder(), 'train.jsonl');
      const found = await visurfJson<Record<string, unknown>>('data', 'import', source, '--output', output);
      expect([found['format'], found['n'], found['images']]).toEqual([kind, 54, 18]);
      const boxes = rowsOf(output).map(({ problem, solution }) => [
        problem,
        ...(solution as { bbox_2d: number[] }[]).map(({ bbox_2d }) => bbox_2d),
      ]);
      return boxes.map((each) => JSON.stringify(each)).sort();
    };
    // The boxes that the set names are its outlines', rounded.
    const reference = temporaryFolder();
    const outlined = nuts.annotations.map(({ bbox, ...rest }) => (format === 'labelme' ? rest : { bbox, ...rest }));
    put(reference, 'trainval.json', { ...nuts, annotations: outlined });
    cpSync(join(NUTS, 'images'), join(reference, 'images'), { recursive: true });
    expect(await rows(folder, format)).toEqual(await rows(reference, 'coco'));
  },
);

test('outlines and run lengths of COCO come along as masks, scaled as their boxes are', async () => {
  const folder = temporaryFolder();
  const set = (segmentation: unknown, image = 'a.png') => ({
    images: [{ id: 1, file_name: image, width: 40, height: 40 }],
    categories: [
      { id: 1, name: 'cat' },
      { id: 2, name: 'dog' },
    ],
    annotations: [{ image_id: 1, category_id: 1, bbox: [4, 8, 16, 16], segmentation }],
  });
  copyFileSync(join(fixtures, 'images/small-40x40.png'), join(folder, 'a.png'));
  const masks = async (document: unknown) => {
    put(folder, 'set.json', document);
    const output = join(folder, 'train.jsonl');
    await visurfJson('data', 'import', join(folder, 'set.json'), '--output', output);
    return rowsOf(output).map((row) => (row as { mask?: unknown }).mask);
  };
  const outline = [4, 8, 20, 8, 20, 24, 4, 24];
  const runs = { size: [40, 40], counts: [168, 16, 1416] };
  expect(await masks(set([outline]))).toEqual([[outline], undefined]);
  expect(await masks(set(runs))).toEqual([[runs], undefined]);
  expect(await masks(set([]))).toEqual([undefined, undefined]);
  // Of half the size: outlines are scaled with their boxes, run lengths are not.
  const half = (document: ReturnType<typeof set>) => ({
    ...document,
    images: document.images.map((image) => ({ ...image, width: 20, height: 20 })),
    annotations: document.annotations.map((each) => ({ ...each, bbox: [2, 4, 8, 8] })),
  });
  expect(await masks(half(set([outline.map((value) => value / 2)])))).toEqual([[outline], undefined]);
  expect(await masks(half(set({ ...runs, size: [20, 20] })))).toEqual([undefined, undefined]);
});

test('classes that are asked for, and one that the set does not have', async () => {
  const folder = temporaryFolder();
  for (const name of ['a', 'b']) copyFileSync(join(fixtures, 'images/flat-90x60.png'), join(folder, `${name}.png`));
  put(folder, 'data.yaml', 'train: .\nnames: [cat, dog, traffic light]\n');
  put(folder, 'a.txt', '0 0.3 0.4 0.4 0.4\n2 0.5 0.5 0.2 0.2\n');
  put(folder, 'b.txt', '');
  const output = join(folder, 'out.jsonl');
  await visurfJson('data', 'import', folder, '--output', output, '--classes', 'traffic light, cat');
  const asked = rowsOf(output).map(({ problem, solution }) => [problem, solution.length]);
  expect(asked).toEqual([['traffic light', 1], ['cat', 1], ['traffic light', 0], ['cat', 0]]); // prettier-ignore
  const refused = await visurf('data', 'import', folder, '--output', join(folder, 'x.jsonl'), '--classes', 'cats');
  expectRefusal(refused, 'the set has no class cats', 'Did you mean cat? It has: cat, dog, traffic light.');
  expect(existsSync(join(folder, 'x.jsonl'))).toBe(false);
});
