/** Whatever a file holds, it is read, or refused with a message for its user. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, expect, test } from 'vitest';
import { UserError } from '../../errors.ts';
import { isObject } from './record.ts';
import { FORMATS } from './registry.ts';
import { folderStore } from './store.ts';
import { parseTable } from './table.ts';
import { parseXml } from './xml.ts';
import { rowsOf } from './testkit.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'visurf-untrusted-'));
afterAll(() => rmSync(directory, { recursive: true }));

const turns = [
  { from: 'human', value: '<image>what?' },
  { from: 'gpt', value: '[1, 2, 3, 4]' },
];
const messages = [
  { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }] },
  { role: 'assistant', content: 'this' },
];
const shape = { shape_attributes: { name: 'rect', x: 1, y: 2, width: 3, height: 4 }, region_attributes: { a: 'cat' } };
const result = [
  { original_width: 9, original_height: 9, value: { x: 1, y: 2, width: 3, height: 4, rectanglelabels: ['c'] } },
];

/** A record of every format that is JSON. */
const DOCUMENTS: Record<string, unknown> = {
  coco: {
    images: [{ id: 1, file_name: 'a.jpg', width: 9, height: 9 }],
    categories: [{ id: 1, name: 'cat', supercategory: 'x' }],
    annotations: [{ image_id: 1, category_id: 1, segmentation: { counts: 'abc', size: [9, 9] } }],
  },
  via: { a: { filename: 'a.jpg', regions: [shape] } },
  labelme: {
    shapes: [
      {
        label: 'c',
        points: [
          [1, 2],
          [3, 4],
        ],
        shape_type: 'circle',
      },
    ],
    imagePath: 'a.jpg',
  },
  createml: [{ image: 'a.jpg', annotations: [{ label: 'c', coordinates: { x: 1, y: 2, width: 3, height: 4 } }] }],
  instances: [{ image: 'a.jpg', instances: [{ category: 'c', bbox: [0.1, 0.2, 0.3, 0.4] }] }],
  'label-studio': [{ data: { image: 'a.jpg' }, annotations: [{ result }] }],
  visurf: [{ image: 'a.jpg', problem: 'x', solution: [{ bbox_2d: [1, 2, 3, 4], point_2d: [1, 2] }] }],
  'vlm-r1': [{ image: ['a.jpg'], conversations: turns }],
  llava: [{ image: 'a.jpg', conversations: turns }],
  'ms-swift': [{ query: '<img>a.jpg</img>x', response: 'y', history: [['a', 'b']] }],
  openai: [{ messages }],
  sharegpt: [
    {
      messages: [
        { role: 'user', content: '<image>q' },
        { role: 'assistant', content: 'a' },
      ],
      images: ['a.jpg'],
    },
  ],
  questions: [{ image: 'a.jpg', question: 'q', answer: ['a'], objects: { bbox: [[1, 2, 3, 4]], categories: ['c'] } }],
};
const TEXTS: Record<string, readonly [string, string]> = {
  voc: [
    'a.xml',
    '<annotation><filename>a.jpg</filename><object><name>c</name><bndbox><xmin>1</xmin></bndbox></object></annotation>',
  ],
  cvat: [
    'a.xml',
    '<annotations><image name="a.jpg" width="9"><polygon label="c" points="1,2;3,4;5,6"/></image></annotations>',
  ],
  'labelme-xml': [
    'a.xml',
    '<annotation><filename>a.jpg</filename><object><name>c</name><polygon><pt><x>1</x></pt></polygon></object></annotation>',
  ],
  csv: ['a.csv', 'filename,class,bbox\na.jpg,cat,"1,2,3,4"\n'],
};

const values = fc.constantFrom<unknown>(
  null,
  '',
  -1,
  NaN,
  1e300,
  true,
  [],
  {},
  [[]],
  [null],
  'x',
  { a: [1] },
  '__proto__',
);

/** The document with one value in it replaced. */
function spoiled(document: unknown, at: number, value: unknown): unknown {
  let left = at;
  const visit = (node: unknown): unknown => {
    if (left-- === 0) return value;
    if (Array.isArray(node)) return node.map(visit);
    return isObject(node) ? Object.fromEntries(Object.entries(node).map(([key, each]) => [key, visit(each)])) : node;
  };
  return visit(document);
}

let count = 0;
async function readsOrRefuses(name: string, content: string | Uint8Array, format?: string): Promise<void> {
  const folder = path.join(directory, String(count++));
  mkdirSync(folder);
  const file = path.join(folder, name);
  writeFileSync(file, content);
  try {
    await rowsOf(file, { format, store: folderStore(folder) });
  } catch (error) {
    if (!(error instanceof UserError)) throw new Error(`${name}: ${String(content).slice(0, 300)}`, { cause: error });
  }
}

test.each(Object.entries(DOCUMENTS))('%s with any value in it replaced', async (format, document) => {
  await fc.assert(
    fc.asyncProperty(fc.nat(25), values, async (at, value) => {
      await readsOrRefuses('a.json', JSON.stringify(spoiled(document, at, value)), format);
    }),
    { numRuns: 150, seed: 1 },
  );
});

const SOURCES: (readonly [string, string])[] = [
  ...Object.values(DOCUMENTS).map((document) => ['a.json', JSON.stringify(document)] as const),
  ...Object.values(TEXTS),
];

test('any text with a piece cut out or put in, read as any format', async () => {
  const sources = fc.constantFrom(...SOURCES);
  const pieces = fc.constantFrom('', '"', '<', '&x;', '\0', ']', '{"a":', '\n', '\ufffd', '<!DOCTYPE a>', ',,,');
  const formats = fc.constantFrom('auto', ...FORMATS);
  await fc.assert(
    fc.asyncProperty(
      sources,
      fc.nat(400),
      fc.nat(30),
      pieces,
      formats,
      async ([name, text], at, cut, piece, format) => {
        await readsOrRefuses(name, text.slice(0, at) + piece + text.slice(at + cut), format);
      },
    ),
    { numRuns: 600, seed: 2 },
  );
});

test('a damaged parquet', async () => {
  const columns = [
    { name: 'problem', data: ['a', 'b'] },
    { name: 'solution', data: ['[1,2,3,4]', 'x'] },
    { name: 'image', data: ['a.jpg', 'b.jpg'] },
  ];
  const bytes = new Uint8Array(parquetWriteBuffer({ columnData: columns }));
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(255), fc.boolean(), async (at, value, cut) => {
      const changed = cut ? bytes.slice(0, at) : Uint8Array.from(bytes);
      if (!cut) changed[at] = value;
      await readsOrRefuses('a.parquet', changed);
    }),
    { numRuns: 300, seed: 3 },
  );
});

test('XML has no entities of its own, and ends where it should', () => {
  expect(parseXml('<a x="1 &lt; 2"><b>&#65;&amp;<![CDATA[<c>]]></b></a>').children[0]?.text).toBe('A&<c>');
  for (const text of [
    '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    '<a>&b;</a>',
    '<a><b></a>',
    '<a>',
    '',
    '<a/><b/>',
    'x',
  ]) {
    expect(() => parseXml(text)).toThrow(UserError);
  }
  expect(() => parseXml('<a>'.repeat(100_000))).toThrow('levels');
});

test('tables have quotes, separators and empty lines as RFC 4180', () => {
  const rows = [...parseTable('\ufeffA;"b ""c"""\r\n1;"x;\ny"\r\n\r\n2;\r\n')];
  expect(rows.map(({ line, cells }) => [line, ...cells])).toEqual([
    [2, ['a', '1'], ['b "c"', 'x;\ny']],
    [5, ['a', '2'], ['b "c"', '']],
  ]);
});
