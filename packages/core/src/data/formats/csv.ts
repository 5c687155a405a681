/** A table with a row for every box, whatever its columns are called and in whatever order; or with questions. */
import path from 'node:path';
import { fromColumns } from './columns.ts';
import { fault, fourNumbers, isText, sizeOf, type BoxForm, type Item, type LabelledBox, type Place } from './record.ts';
import type { Size } from './record.ts';
import type { Reader } from './reader.ts';
import { isOfSplit, readText } from './source.ts';
import { parseTable, type TableRow } from './table.ts';

type Cells = ReadonlyMap<string, string>;

const IMAGE = [
  'filename',
  'file_name',
  'image',
  'image_name',
  'image_path',
  'image_id',
  'imageid',
  'img',
  'path',
  'file',
];
const LABEL = ['class', 'label', 'label_name', 'labelname', 'category', 'cell_type', 'name', 'class_name', 'object'];
const CLASS = /(?:^|_)(?:class|label|category|type)$/;
const BOX = ['bbox', 'box', 'bbox_2d', 'bounding_box'];
const SIDES: readonly { readonly form: BoxForm; readonly names: readonly (readonly string[])[] }[] = [
  {
    form: 'xyxy',
    names: [
      ['xmin', 'x_min', 'x1', 'left'],
      ['ymin', 'y_min', 'y1', 'top'],
      ['xmax', 'x_max', 'x2', 'right'],
      ['ymax', 'y_max', 'y2', 'bottom'],
    ],
  },
  { form: 'xyxy', names: [['x0'], ['y0'], ['x1'], ['y1']] },
  {
    form: 'cxcywh',
    names: [
      ['cx', 'x_center', 'xcenter', 'center_x'],
      ['cy', 'y_center', 'ycenter', 'center_y'],
      ['w', 'width', 'box_width'],
      ['h', 'height', 'box_height'],
    ],
  },
  {
    form: 'xywh',
    names: [
      ['x', 'x1', 'xmin', 'left', 'bbox_x'],
      ['y', 'y1', 'ymin', 'top', 'bbox_y'],
      ['w', 'bbox_w', 'box_width', 'bbox_width', 'width'],
      ['h', 'bbox_h', 'box_height', 'bbox_height', 'height'],
    ],
  },
];

export const csv: Reader = {
  name: 'csv',
  knows: ({ extension, head }) =>
    ['csv', 'tsv'].includes(extension) && columnsOf(firstRow(firstLines(head))) !== undefined,
  async *read(source, context) {
    for (const file of source.files.filter((each) => /\.[ct]sv$/i.test(each))) {
      if (source.split !== undefined && source.files.length > 1) {
        if (!isOfSplit(path.relative(source.root, file), source.split)) continue;
      }
      const text = await readText(file);
      const columns = columnsOf(firstRow(text));
      if (columns === undefined) {
        for (const { line, cells } of parseTable(text))
          yield* fromColumns(Object.fromEntries(cells), { file, record: line }, context);
        continue;
      }
      const byImage = Map.groupBy(parseTable(text), ({ cells }) => cells.get(columns.image) ?? '');
      for (const [name, own] of byImage) {
        const place = { file, record: own[0]!.line };
        yield imageOf(own, columns, place, name === '' ? '' : context.images.findAny([name], file));
      }
    }
  },
};

function firstRow(text: string): TableRow | undefined {
  for (const row of parseTable(text)) return row;
  return undefined;
}

const firstLines = (head: string): string => head.split('\n').slice(0, 2).join('\n');

interface Columns {
  readonly image: string;
  readonly label: string;
  readonly form: BoxForm | undefined;
  /** Four, or one with all numbers. */
  readonly box: readonly string[];
}

/** Which columns hold what; undefined where there are no boxes. */
function columnsOf(row: TableRow | undefined): Columns | undefined {
  const names = [...(row?.cells.keys() ?? [])];
  const image = IMAGE.find((each) => names.includes(each));
  const label = LABEL.find((each) => names.includes(each)) ?? names.find((each) => CLASS.test(each));
  if (image === undefined || label === undefined) return undefined;
  for (const { form, names: sides } of SIDES) {
    const found = sides.map((all) => all.find((each) => names.includes(each)));
    if (found.every((each) => each !== undefined)) return { image, label, form, box: found };
  }
  const one = BOX.find((each) => names.includes(each));
  return one === undefined ? undefined : { image, label, form: undefined, box: [one] };
}

function imageOf(rows: readonly TableRow[], columns: Columns, place: Place, image: string): Item {
  if (image === '') return fault(place, `no ${columns.image}`);
  const objects: LabelledBox[] = [];
  for (const { line, cells } of rows) {
    const label = cells.get(columns.label);
    const texts = columns.box.map((name) => cells.get(name) ?? '');
    // An image with nothing in it has a row without a box.
    if (texts.every((text) => text === '')) continue;
    const numbers = fourNumbers(texts.length === 1 ? (texts[0]!.match(/-?\d+(?:\.\d+)?(?:e-?\d+)?/gi) ?? []) : texts);
    if (!numbers) return fault({ ...place, record: line }, `${columns.box.join(', ')} are not four numbers`);
    if (!isText(label)) return fault({ ...place, record: line }, `no ${columns.label}`);
    objects.push({ label, numbers, convention: { form: columns.form } });
  }
  return { kind: 'image', place, image, frame: frameOf(rows[0]!.cells, columns), objects, unsure: [] };
}

/** Width and height of the image, where they are not those of the box. */
function frameOf(cells: Cells, { box }: Columns): Size | undefined {
  const side = (names: readonly string[]): string | undefined =>
    names.find((each) => cells.has(each) && !box.includes(each));
  const [w, h] = [side(['image_width', 'img_width', 'width']), side(['image_height', 'img_height', 'height'])];
  return w !== undefined && h !== undefined ? sizeOf(cells.get(w), cells.get(h)) : undefined;
}
