/** A box survives every path to within a pixel: every format, convention and unit, whatever EXIF says of the picture. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { parquetWriteBuffer } from 'hyparquet-writer';
import sharp from 'sharp';
import { afterAll, expect, test } from 'vitest';
import { boxesIn } from '../plausible.ts';
import type { RowOptions } from './formats.ts';
import { turnBox, turnPoint, upright } from './geometry.ts';
import type { Numbers, Size } from './record.ts';
import { folderStore } from './store.ts';
import { rowsOf } from './testkit.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'visurf-paths-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** A picture with a box, in the frame in which a set writes it. */
interface Case {
  readonly folder: string;
  readonly image: string;
  readonly box: Numbers;
  readonly size: Size;
}

type Writer = (each: Case) => { readonly source: string; readonly options?: RowOptions };

const write = (folder: string, name: string, content: unknown): string => {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
};

const xywh = ([x0, y0, x1, y1]: Numbers): Numbers => [x0, y0, x1 - x0, y1 - y0];
const cxcywh = ([x0, y0, x1, y1]: Numbers): Numbers => [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0];
const shares = ([a, b, c, d]: Numbers, { width, height }: Size, whole = 1): Numbers => [
  (a / width) * whole,
  (b / height) * whole,
  (c / width) * whole,
  (d / height) * whole,
];
const outline = ([x0, y0, x1, y1]: Numbers) => [
  x0,
  (y0 + y1) / 2,
  (x0 + x1) / 2,
  y0,
  x1,
  (y0 + y1) / 2,
  (x0 + x1) / 2,
  y1,
];
const pairs = (flat: readonly number[]) => [0, 1, 2, 3].map((i) => [flat[2 * i]!, flat[2 * i + 1]!]);

const coco =
  (annotation: (each: Case) => object): Writer =>
  (each) => ({
    source: write(each.folder, 'annotations.json', {
      images: [{ id: 0, file_name: each.image, ...each.size }],
      categories: [{ id: 3, name: 'cat' }],
      annotations: [{ id: 0, image_id: 0, category_id: 3, ...annotation(each) }],
    }),
  });

/** The box as a run-length mask, in whole pixels. */
function mask([x0, y0, x1, y1]: Numbers, { width, height }: Size): number[] {
  const [a, b, c, d] = [Math.round(x0), Math.round(y0), Math.round(x1), Math.round(y1)];
  const columns = Array.from({ length: c - a }, (_, i) => [i === 0 ? a * height + b : height - (d - b), d - b]).flat();
  return [...columns, width * height - columns.reduce((sum, run) => sum + run, 0)];
}

const sizeless: Record<string, Writer> = {
  yolo: ({ folder, box, size }) => {
    write(folder, 'data.yaml', 'train: .\nval: .\nnames: [dog, cat]\n');
    write(folder, 'picture.txt', `1 ${shares(cxcywh(box), size).join(' ')}\n`);
    return { source: folder };
  },
  'yolo, outline': ({ folder, box, size }) => {
    const [w, h] = [size.width, size.height];
    write(folder, 'data.yaml', 'train: .\nnames: {7: cat}\n');
    write(
      folder,
      'picture.txt',
      `7 ${pairs(outline(box))
        .map(([x, y]) => `${x! / w} ${y! / h}`)
        .join(' ')}\n`,
    );
    return { source: folder };
  },
  'csv, corners': ({ folder, image, box: [a, b, c, d] }) => ({
    source: write(folder, 'boxes.csv', `filename,label,xmin,xmax,ymin,ymax\n${image},cat,${a},${c},${b},${d}\n`),
  }),
  'csv, sizes': ({ folder, image, box }) => ({
    source: write(folder, 'boxes.csv', `image,class,x,y,w,h\n${image},cat,${xywh(box).join(',')}\n`),
  }),
  'csv, shares that nobody declared': ({ folder, image, box, size }) => ({
    source: write(folder, 'boxes.csv', `image;class;bbox\n${image};cat;"[${shares(box, size).join(', ')}]"\n`),
  }),
  'csv, declared': ({ folder, image, box, size }) => ({
    source: write(
      folder,
      'boxes.csv',
      `image,class,bbox\n${image},cat,"${shares(cxcywh(box), size, 1000).join(' ')}"\n`,
    ),
    options: { boxes: 'cxcywh', units: 'thousandths' },
  }),
  via: ({ folder, image, box }) => {
    const [x, y, width, height] = xywh(box);
    const region = { shape_attributes: { name: 'rect', x, y, width, height }, region_attributes: { label: 'cat' } };
    return { source: write(folder, 'via.json', { [`${image}1`]: { filename: image, size: 1, regions: [region] } }) };
  },
  'via, outline': ({ folder, image, box }) => {
    const points = pairs(outline(box));
    const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
    const region = {
      shape_attributes: { name: 'polygon', all_points_x: xs, all_points_y: ys },
      region_attributes: { label: 'cat' },
    };
    return { source: write(folder, 'via.json', { [`${image}1`]: { filename: image, size: 1, regions: [region] } }) };
  },
  createml: ({ folder, image, box }) => {
    const [x, y, width, height] = cxcywh(box);
    const annotations = [{ label: 'cat', coordinates: { x, y, width, height } }];
    return { source: write(folder, '_annotations.createml.json', [{ image, annotations }]) };
  },
  llava: ({ folder, image, box }) => {
    const answer = '```json\n' + JSON.stringify([{ bbox_2d: box, label: 'cat' }]) + '\n```';
    const conversations = [
      { from: 'human', value: '<image>\nfind the cat' },
      { from: 'gpt', value: answer },
    ];
    return { source: write(folder, 'llava.json', [{ id: 1, image, conversations }]) };
  },
  "tokens of Qwen2-VL's": ({ folder, image, box, size }) => {
    const [a, b, c, d] = shares(box, size, 1000);
    const messages = [
      { role: 'user', content: 'find the cat' },
      { role: 'assistant', content: `<|box_start|>(${a},${b}),(${c},${d})<|box_end|>` },
    ];
    return { source: write(folder, 'chat.jsonl', { messages, images: [image] }) };
  },
  'ms-swift': ({ folder, image, box }) => ({
    source: write(folder, 'swift.jsonl', {
      messages: [
        { role: 'user', content: '<image>Find the <ref-object>' },
        { role: 'assistant', content: '<bbox>' },
      ],
      images: [image],
      objects: { ref: ['cat'], bbox: [box] },
    }),
  }),
  'Seg-Zero': ({ folder, image, box: [a, b, c, d] }) => {
    const file = path.join(folder, 'train-00000.parquet');
    const solution = `<box>(${a},${b}),(${c},${d})</box><points>(${a},${b}),(${c},${d})</points>`;
    const columns = [
      { name: 'id', data: ['x'] },
      { name: 'problem', data: ['the cat'] },
      { name: 'solution', data: [solution] },
      { name: 'image', data: [path.join(folder, image)] },
    ];
    writeFileSync(file, new Uint8Array(parquetWriteBuffer({ columnData: columns })));
    return { source: file };
  },
  imagefolder: ({ folder, image, box }) => ({
    source: path.dirname(
      write(folder, 'metadata.jsonl', { file_name: image, objects: { bbox: [xywh(box)], categories: ['cat'] } }),
    ),
  }),
  'our JSONL, declared': ({ folder, image, box, size }) => ({
    source: write(folder, 'ours.jsonl', { image, problem: 'cat', solution: [{ bbox_2d: shares(box, size, 100) }] }),
    options: { units: 'percent' },
  }),
};

/** Formats that name the size of the picture, and may mean it as stored. */
const sized: Record<string, Writer> = {
  coco: coco(({ box }) => ({ bbox: xywh(box), iscrowd: 0 })),
  'coco, outline': coco(({ box }) => ({ segmentation: [outline(box)] })),
  'coco, mask': coco(({ box, size }) => ({
    segmentation: { counts: mask(box, size), size: [size.height, size.width] },
  })),
  voc: ({ folder, image, box: [a, b, c, d], size: { width, height } }) => ({
    source: write(
      folder,
      'picture.xml',
      `<?xml version="1.0"?><annotation><filename>${image}</filename><size><width>${width}</width><height>${height}` +
        `</height></size><object><name>cat</name><bndbox><xmin>${a}</xmin><ymin>${b}</ymin><xmax>${c}</xmax>` +
        `<ymax>${d}</ymax></bndbox></object></annotation>`,
    ),
  }),
  cvat: ({ folder, image, box: [a, b, c, d], size: { width, height } }) => ({
    source: write(
      folder,
      'annotations.xml',
      `<annotations><image name="${image}" width="${width}" height="${height}">` +
        `<box label="cat" xtl="${a}" ytl="${b}" xbr="${c}" ybr="${d}"/></image></annotations>`,
    ),
  }),
  labelme: ({ folder, image, box: [a, b, c, d], size: { width, height } }) => {
    const shapes = [
      {
        label: 'cat',
        shape_type: 'rectangle',
        points: [
          [c, d],
          [a, b],
        ],
      },
    ];
    return { source: write(folder, 'l.json', { shapes, imagePath: image, imageWidth: width, imageHeight: height }) };
  },
  'labelme, outline': ({ folder, image, box, size: { width, height } }) => {
    const shapes = [{ label: 'cat', shape_type: 'polygon', points: pairs(outline(box)) }];
    return { source: write(folder, 'l.json', { shapes, imagePath: image, imageWidth: width, imageHeight: height }) };
  },
  'labelme-xml, outline': ({ folder, image, box, size: { width, height } }) => ({
    source: write(
      folder,
      'a.xml',
      `<annotation><filename>${image}</filename><imagesize><nrows>${height}</nrows><ncols>${width}</ncols></imagesize>` +
        `<object><name>cat</name><polygon>${pairs(outline(box))
          .map(([x, y]) => `<pt><x>${x}</x><y>${y}</y></pt>`)
          .join('')}</polygon></object></annotation>`,
    ),
  }),
  'cvat, outline': ({ folder, image, box, size: { width, height } }) => ({
    source: write(
      folder,
      'annotations.xml',
      `<annotations><image name="${image}" width="${width}" height="${height}">` +
        `<polygon label="cat" points="${pairs(outline(box)).join(';')}"/></image></annotations>`,
    ),
  }),
  'label studio, outline': ({ folder, image, box, size }) => {
    const points = pairs(outline(box)).map(([x, y]) => shares([x!, y!, 0, 0], size, 100).slice(0, 2));
    const value = { points, polygonlabels: ['cat'] };
    const result = [{ original_width: size.width, original_height: size.height, type: 'polygonlabels', value }];
    return { source: write(folder, 'tasks.json', [{ id: 1, data: { image }, annotations: [{ result }] }]) };
  },
  'label studio': ({ folder, image, box, size }) => {
    const [x, y, width, height] = shares(xywh(box), size, 100);
    const value = { x, y, width, height, rotation: 0, rectanglelabels: ['cat'] };
    const result = [{ original_width: size.width, original_height: size.height, type: 'rectanglelabels', value }];
    return { source: write(folder, 'tasks.json', [{ id: 1, data: { image }, annotations: [{ result }] }]) };
  },
  'csv, resized': ({ folder, image, box, size }) => {
    const [a, b, c, d] = box.map((each) => each * 3);
    const [w, h] = [size.width * 3, size.height * 3];
    const head = 'filename,width,height,class,xmin,ymin,xmax,ymax';
    return { source: write(folder, 'b.csv', `${head}\n${image},${w},${h},cat,${a},${b},${c},${d}\n`) };
  },
};

/** Its own inverse, but for the quarter turns. */
const inverse = (orientation: number): number => ({ 6: 8, 8: 6 })[orientation] ?? orientation;

const pictures = fc.record({
  width: fc.integer({ min: 40, max: 160 }),
  height: fc.integer({ min: 40, max: 160 }),
  orientation: fc.integer({ min: 1, max: 8 }),
  corners: fc.tuple(...Array.from({ length: 4 }, () => fc.double({ min: 0, max: 1, noNaN: true }))),
  isStored: fc.boolean(),
});

let count = 0;

test.each([...Object.entries(sizeless), ...Object.entries(sized)])('a box survives: %s', async (name, writer) => {
  await fc.assert(
    fc.asyncProperty(pictures, async ({ width, height, orientation, corners: [a, b, c, d], isStored }) => {
      const folder = path.join(directory, String(count++));
      mkdirSync(folder);
      const stored = { width, height };
      const seen = upright(stored, orientation);
      const [x0, y0] = [Math.floor(a! * (seen.width - 8)), Math.floor(b! * (seen.height - 8))];
      const [x1, y1] = [
        x0 + 6 + Math.floor(c! * (seen.width - x0 - 6)),
        y0 + 6 + Math.floor(d! * (seen.height - y0 - 6)),
      ];
      const truth: Numbers = [x0, y0, x1, y1];
      await sharp({ create: { ...stored, channels: 3, background: '#888' } })
        .jpeg()
        .withMetadata({ orientation })
        .toFile(path.join(folder, 'picture.jpg'));
      const asStored = isStored && name in sized && orientation >= 5 && width !== height;
      const box = asStored ? turnBox(truth, inverse(orientation), seen) : truth;
      const { source, options } = writer({ folder, image: 'picture.jpg', box, size: asStored ? stored : seen });
      const { rows, findings } = await rowsOf(source, { store: folderStore(folder), ...options });
      expect(findings).toEqual([]);
      const found = rows.map(({ fields }) => boxesIn({ solution: JSON.stringify(fields['solution']) })).flat();
      expect(found).toHaveLength(1);
      found[0]!.forEach((each, i) => expect(Math.abs(each - truth[i]!)).toBeLessThanOrEqual(1));
      if (!name.endsWith('outline')) return;
      const [part] = rows[0]!.fields['mask'] as number[][];
      const drawn = pairs(part!);
      for (const [x, y] of pairs(outline(truth))) {
        expect(drawn.some(([px, py]) => Math.hypot(px! - x!, py! - y!) <= 1.5)).toBe(true);
      }
    }),
    { numRuns: 25, seed: 7 },
  );
});

test('turning by EXIF brings every corner where the viewer sees it', async () => {
  for (let orientation = 1; orientation <= 8; orientation++) {
    const [width, height, x, y] = [9, 5, 7, 1];
    const data = Buffer.alloc(width * height * 3);
    data[(y * width + x) * 3] = 255;
    const raw = { raw: { width, height, channels: 3 as const } };
    const file = await sharp(data, raw).png().withMetadata({ orientation }).toBuffer();
    const seen = await sharp(file).autoOrient().raw().toBuffer({ resolveWithObject: true });
    const at = seen.data.indexOf(255) / 3;
    const [px, py] = turnPoint([x + 0.5, y + 0.5], orientation, { width, height });
    expect([Math.floor(px), Math.floor(py)]).toEqual([at % seen.info.width, Math.floor(at / seen.info.width)]);
  }
});

test.each(['<bbox><bbox>', '<bbox>, <bbox>', '<bbox>,\n<bbox>\n', '<bbox>\n,<bbox>'])(
  'boxes of ms-swift are a list, whatever is between them: %j',
  async (content) => {
    const folder = mkdtempSync(path.join(directory, 'between-'));
    const user = { role: 'user', content: '<image>Find them' };
    const messages = [user, { role: 'assistant', content }];
    const objects = { ref: [], bbox: [[1, 2, 3, 4], [5, 6, 7, 8]] }; // prettier-ignore
    const source = write(folder, 'swift.jsonl', { messages, images: ['a.png'], objects });
    const { rows } = await rowsOf(source);
    expect(rows.map(({ fields }) => fields['solution'])).toEqual([
      [{ bbox_2d: [1, 2, 3, 4] }, { bbox_2d: [5, 6, 7, 8] }],
    ]);
  },
);
