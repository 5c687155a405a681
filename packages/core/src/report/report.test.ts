import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { movingAverage, ticks } from './chart.ts';
import type { ReportAnswer, ReportColumn, ReportData } from './data.ts';
import { verdict } from './gallery.ts';
import { html } from './html.ts';
import { Palette } from './palette.ts';
import { writeReport } from './report.ts';
import { bestShown } from './results.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'report-'));
const [small, large] = [path.join(folder, 'small.png'), path.join(folder, 'large.png')];
beforeAll(async () => {
  await sharp({ create: { width: 112, height: 80, channels: 3, background: '#335577' } }).toFile(small);
  await sharp({ create: { width: 2000, height: 1000, channels: 3, background: '#775533' } }).toFile(large);
});
afterAll(() => rmSync(folder, { recursive: true }));

const columns: ReportColumn[] = [
  { key: 'gIoU', label: 'gIoU', unit: '%', better: 'higher' },
  { key: 'falseEmpty', label: 'False []', unit: '%', better: 'lower' },
];
const evil = '</dd><script>alert(1)</script><img src="https://example.com/x.png" onerror=\'x\'>\u0000\ud800';

async function report(changes: Partial<ReportData>): Promise<string> {
  const file = path.join(folder, 'nested', 'report.html');
  const data = { title: 'A report', intro: '', columns, rows: [], curves: [], samples: [], notes: [] };
  await writeReport(file, { ...data, ...changes });
  return readFileSync(file, 'utf8');
}

test('the page shows what it was given', async () => {
  const page = await report({
    intro: 'First paragraph.\n\nSecond paragraph.',
    rows: [
      { name: 'base', metrics: { gIoU: 43.44, falseEmpty: 0 } },
      { name: 'ViSurf', metrics: { gIoU: 83.26, falseEmpty: 4 } },
    ],
    curves: [
      {
        title: 'Reward',
        yLabel: 'mean',
        series: [
          {
            name: 'ViSurf',
            points: [
              [0, 1],
              [10, 3],
            ],
          },
        ],
      },
    ],
    samples: [
      {
        image: small,
        question: 'red circle',
        truth: [[10, 20, 30, 40]],
        answers: [{ name: 'ViSurf', text: '[1, 2]', boxes: [[11, 21, 31, 41]], wellFormed: true }],
      },
    ],
    notes: ['One seed.'],
  });
  for (const text of [
    '<h1>A report</h1>',
    '<p>Second paragraph.</p>',
    '>83.3</td>',
    'Reward',
    'red circle',
    'One seed.',
  ]) {
    expect(page).toContain(text);
  }
  expect(page).toContain('viewBox="0 0 112 80"');
  expect(page).toMatch(/<rect\s+x="10" y="20" width="20" height="20"/);
  expect(page).toMatch(/<rect\s+x="11" y="21" width="20" height="20"/);
  expect(page).toContain('IoU 0.82'); // 19 * 19 / (2 * 400 - 361)
});

test('nothing that data or a model says becomes markup, and nothing is loaded from elsewhere', async () => {
  const page = await report({
    title: evil,
    intro: evil,
    rows: [{ name: evil, metrics: { gIoU: 1 } }],
    columns: [{ key: 'gIoU', label: evil, unit: evil, better: 'higher' }],
    curves: [{ title: evil, yLabel: evil, series: [{ name: evil, points: [[0, 0]] }] }],
    samples: [
      { image: small, question: evil, truth: [], answers: [{ name: evil, text: evil, boxes: [], wellFormed: false }] },
    ],
    notes: [evil],
  });
  expect(page).toContain('&lt;script&gt;');
  expect(page).not.toContain('<script');
  expect(page).not.toContain('<img');
  expect(page).not.toContain('\u0000');
  const loaded = [...page.matchAll(/\s(?:src|href|data)="([^"]*)"|url\(/g)].map(([, address]) => address);
  expect(loaded).toEqual([expect.stringMatching(/^data:image\/png;base64,[\w+/=]+$/)]);
  expect(page.isWellFormed()).toBe(true);
});

test('a large picture is scaled down, its boxes stay in original pixels and inside it', async () => {
  const page = await report({
    samples: [
      {
        image: large,
        question: 'q',
        truth: [
          [1500, 900, 4000, 5000],
          [NaN, 0, 1, 1],
        ],
        answers: [],
      },
    ],
  });
  expect(page).toContain('viewBox="0 0 2000 1000"');
  expect(page).toMatch(/<rect\s+x="1500" y="900" width="500" height="100"/);
  expect(page).not.toContain('NaN');
  const encoded = /data:image\/jpeg;base64,([^"]+)/.exec(page)![1]!;
  expect(await sharp(Buffer.from(encoded, 'base64')).metadata()).toMatchObject({ width: 640, height: 320 });
});

test('an unreadable picture is named', async () => {
  const missing = path.join(folder, 'missing.png');
  await expect(report({ samples: [{ image: missing, question: '', truth: [], answers: [] }] })).rejects.toThrow(
    missing,
  );
});

test('html escapes strings and nests fragments', () => {
  expect(html`<a b="${'"&\''}">${[html`<i>${1}</i>`, '<']}${undefined}</a>`.markup).toBe(
    '<a b="&quot;&amp;&#39;"><i>1</i>&lt;</a>',
  );
});

test('ticks are round and span the values', () => {
  expect(ticks(0, 100, 5)).toEqual([0, 20, 40, 60, 80, 100]);
  expect(ticks(-0.13, 0.31, 5)).toEqual([-0.2, -0.1, 0, 0.1, 0.2, 0.3, 0.4]);
  expect(ticks(3, 3, 5).length).toBeGreaterThan(0);
  expect(ticks(0, 0, 5)).toContain(0);
});

test('a moving average is narrower at the ends', () => {
  const points = [0, 3, 0, 6].map((y, x) => [x, y] as const);
  expect(movingAverage(points, 1)).toEqual([
    [0, 1.5],
    [1, 1],
    [2, 3],
    [3, 3],
  ]);
});

test('the best value is emphasised as shown, in the direction of its column', () => {
  const measured: Record<string, number>[] = [{ gIoU: 50.01, falseEmpty: 3 }, { gIoU: 49.99, falseEmpty: 1 }, {}];
  const rows = measured.map((metrics) => ({ name: '', metrics }));
  expect(bestShown(rows, columns[0]!)).toBeUndefined();
  expect(bestShown(rows, columns[1]!)).toBe('1.0');
});

test('verdicts', () => {
  const answer = (boxes: ReportAnswer['boxes'], wellFormed = true) => ({ name: '', text: '', boxes, wellFormed });
  const truth = [[0, 0, 10, 10]] as const;
  expect(verdict(answer([[0, 0, 10, 5]]), truth)).toEqual({ text: 'IoU 0.50', right: false });
  expect(verdict(answer([]), truth).right).toBe(false);
  expect(verdict(answer([]), [])).toEqual({ text: 'rightly empty', right: true });
  expect(verdict(answer([], false), []).right).toBe(false);
  expect(verdict(answer([[0, 0, 1, 1]]), []).right).toBe(false);
});

test('colours repeat without reusing the grey of the first', () => {
  const palette = new Palette(['a', 'b', 'c', 'd', 'e', 'f', 'g']);
  expect(['a', 'b', 'f', 'g', 'a'].map((name) => palette.of(name))).toEqual(['c0', 'c1', 'c5', 'c1', 'c0']);
});
