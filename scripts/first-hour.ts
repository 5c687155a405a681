/**
 * Types the first hour of docs/first-hour.md and writes down what came of it: `node scripts/first-hour.ts DATA [SET]`. DATA holds
 * `blood-cells-roboflow-coco`, a COCO export of Roboflow, and `BCCD_Dataset`, a clone of Shenggan/BCCD_Dataset on GitHub.
 */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import sharp from 'sharp';
import { generateWindows } from '../recipes/cells/src/windows.ts';
import { executable, openBrowser } from '../packages/studio/tests/browser.ts';

const root = path.resolve(import.meta.dirname, '..');
const base = path.join(root, 'recipes/cells/base');
const docs = path.join(root, 'docs');
const page = path.join(docs, 'first-hour.md');

interface DataSet {
  readonly key: string;
  readonly title: string;
  readonly about: string;
  readonly folder: string;
  readonly classes: readonly string[];
  /** Puts it into a folder. */
  readonly make?: (source: string, target: string) => Promise<void>;
}

const PHOTOGRAPHS = 'BCCD_Dataset/BCCD';

const SETS: readonly DataSet[] = [
  {
    key: 'coco',
    title: 'A COCO export: 120 photographs',
    about:
      "Roboflow's export of 120 photographs of blood, with its dummy class and three copies of every picture of training.",
    folder: 'blood-cells-roboflow-coco',
    classes: ['wbc'],
  },
  {
    key: 'voc',
    title: 'Pascal VOC: 364 photographs',
    about: 'BCCD as its authors publish it, 640 x 480 pixels, with the splits of its lists.',
    folder: PHOTOGRAPHS,
    classes: ['WBC'],
  },
  {
    key: 'yolo',
    title: 'YOLO: 1,786 windows, half of them empty',
    about:
      'Windows of 160 pixels of the same photographs ([cells](../recipes/cells/README.md)), in the layout of YOLO: a\nplatelet, or none.',
    folder: 'platelets',
    classes: [],
    make: yoloOf,
  },
];

const { positionals } = parseArgs({ allowPositionals: true });
const [data, only] = positionals;
if (data === undefined) throw new Error('name the folder of the sets');

/** Windows as YOLO has them: shares of the picture, a file of labels beside each, empty where there is nothing. */
async function yoloOf(source: string, target: string): Promise<void> {
  const windows = `${target}-windows`;
  await generateWindows(source, windows);
  const parts = { train: 'train', validation: 'val', test: 'test' };
  for (const [part, name] of Object.entries(parts)) {
    for (const kind of ['images', 'labels']) mkdirSync(path.join(target, kind, name), { recursive: true });
    for (const line of readFileSync(path.join(windows, `${part}.jsonl`), 'utf8')
      .trim()
      .split('\n')) {
      const row = JSON.parse(line) as Row;
      const { base: file, name: stem } = path.parse(row.image);
      copyFileSync(path.join(windows, row.image), path.join(target, 'images', name, file));
      const { width } = await sharp(path.join(windows, row.image)).metadata();
      const boxes = row.solution.map(({ bbox_2d: [x0, y0, x1, y1] }) =>
        ['0', ...[(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0].map((each) => (each / width).toFixed(6))].join(' '),
      );
      writeFileSync(path.join(target, 'labels', name, `${stem}.txt`), boxes.map((each) => `${each}\n`).join(''));
    }
  }
  const names = 'names:\n  0: platelet\n';
  writeFileSync(
    path.join(target, 'data.yaml'),
    `path: .\ntrain: images/train\nval: images/val\ntest: images/test\n${names}`,
  );
}

interface Row {
  readonly image: string;
  readonly solution: readonly { readonly bbox_2d: readonly [number, number, number, number] }[];
}

interface Typed {
  readonly command: string;
  readonly seconds: number;
  readonly lines: readonly string[];
}

/** Runs a command in a folder; of what it says lines are kept as a reader needs them, without places of this machine. */
function type(folder: string, command: string, args: readonly string[]): Typed {
  const start = performance.now();
  const { status, stdout, stderr } = spawnSync(path.join(root, 'visurf'), args, { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
  const said = stderr.split('\n').filter((line) => /^(before training|step \d+: gIoU|ended)/.test(line));
  const lines = [...said, ...stdout.trimEnd().split('\n')].map((line) => {
    const placeless = line.replaceAll(`${folder}/`, '').replaceAll(path.join(root, 'visurf'), 'visurf');
    return placeless.length > 112 ? `${placeless.slice(0, 109)}...` : placeless;
  });
  return { command, seconds: (performance.now() - start) / 1000, lines };
}

const SHOWN = ['gIoU', 'presentIoU', 'nAcc', 'falseEmpty', 'thinking'];

/** Metrics of a model on what neither training nor validation has seen. */
function measure(folder: string, model: string): Record<string, number> {
  const args = ['eval', '--model', model, '--data', 'test.jsonl', '--config', 'config.yaml', '--json'];
  const { status, stdout, stderr } = spawnSync(path.join(root, 'visurf'), args, { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return (JSON.parse(stdout) as { metrics: Record<string, number> }).metrics;
}

/** What the trained model finds in pictures of the test part. @returns the name of the picture */
async function drawn(folder: string, run: string, key: string): Promise<string> {
  const side = 180;
  const lines = readFileSync(path.join(folder, 'test.jsonl'), 'utf8').trim().split('\n');
  const every = Math.floor(lines.length / 10);
  const shown = lines.filter((_, i) => i % every === 0).slice(0, 10);
  writeFileSync(path.join(folder, 'shown.jsonl'), `${shown.join('\n')}\n`);
  const asked = ['--data', 'shown.jsonl', '--allow-outside', '--draw', 'drawn'];
  type(folder, 'visurf predict', ['predict', '--model', run, ...asked]);
  const files = globSync('drawn/**/*.{png,jpg,jpeg}', { cwd: folder }).sort();
  const composite = await Promise.all(
    files.map(async (file, i) => {
      const input = await sharp(path.join(folder, file)).resize(side, side, { fit: 'fill' }).toBuffer();
      return { input, left: (i % 5) * (side + 4), top: Math.floor(i / 5) * (side + 4) };
    }),
  );
  const name = `first-hour-${key}.jpg`;
  const [width, height] = [5 * (side + 4) - 4, Math.ceil(files.length / 5) * (side + 4) - 4];
  const sheet = sharp({ create: { width, height, channels: 3, background: 'white' } }).composite(composite);
  await sheet.jpeg({ quality: 85 }).toFile(path.join(docs, 'images', name));
  return name;
}

/** The top of the report, as a browser shows it. */
async function photographed(folder: string, run: string, key: string): Promise<string | undefined> {
  if (executable === undefined) return undefined;
  const name = `first-hour-${key}-report.png`;
  const browser = await openBrowser();
  try {
    const view = await browser.newPage({ viewport: { width: 1000, height: 760 } });
    await view.goto(`file://${path.join(folder, run, 'report.html')}`);
    const bytes = await view.screenshot();
    await sharp(bytes)
      .png({ palette: true, colours: 64 })
      .toFile(path.join(docs, 'images', name));
    return name;
  } finally {
    await browser.close();
  }
}

async function section({ key, title, about, folder: name, classes, make }: DataSet): Promise<string> {
  const folder = mkdtempSync(path.join(tmpdir(), 'first-hour-'));
  try {
    const source = make ? path.join(folder, name) : realpathSync(path.join(data!, name));
    await make?.(realpathSync(path.join(data!, PHOTOGRAPHS)), source);
    const chosen = classes.length > 0 ? ['--classes', classes.join(',')] : [];
    const asked = ['--prompt', 'find {Question}'];
    const typed = [
      type(
        folder,
        `visurf init ${name} --model BASE --prompt "find {Question}"${chosen.map((each) => ` ${each}`).join('')}`,
        [...['init', source, '--model', base, ...asked, ...chosen, '--no-open']],
      ),
      type(folder, 'visurf train config.yaml', ['train', 'config.yaml']),
    ];
    const run = path.join('runs', path.basename(name));
    const [before, after] = [measure(folder, base), measure(folder, run)];
    const n = readFileSync(path.join(folder, 'test.jsonl'), 'utf8').trim().split('\n').length;
    const row = (label: string, metrics: Record<string, number>): string =>
      `| ${label} | ${SHOWN.map((each) => (metrics[each] === undefined ? '-' : metrics[each].toFixed(1))).join(' | ')} |`;
    const table = [
      `| ${n} of the test part, in percent | gIoU | IoU, present | N-Acc | false \`[]\` | thinking |`,
      '|---|---|---|---|---|---|',
      row('base', before),
      row('trained', after),
    ];
    const picture = await drawn(folder, run, key);
    const report = await photographed(folder, run, key);
    const blocks = typed.map(
      ({ command, seconds, lines }) =>
        `\`${command}\` (${seconds.toFixed(0)} s)\n\n\`\`\`\n${lines.join('\n')}\n\`\`\`\n`,
    );
    const pictures = [
      `![Pictures of the test part, with what the trained model finds](images/${picture})`,
      ...(report === undefined ? [] : [`![The report of this run](images/${report})`]),
    ];
    const said = [`## ${title}`, about, `${table.join('\n')}\n\n${pictures.join('\n\n')}`, blocks.join('\n').trimEnd()];
    return `<!-- ${key} -->\n\n${said.join('\n\n')}\n\n<!-- end of ${key} -->`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

for (const set of SETS) {
  if (only !== undefined && only !== set.key) continue;
  const needed = path.join(data, set.make ? PHOTOGRAPHS : set.folder);
  if (!existsSync(needed)) throw new Error(`${needed} is not there`);
  const made = await section(set);
  const pattern = new RegExp(`<!-- ${set.key} -->[^]*?<!-- end of ${set.key} -->`);
  const text = readFileSync(page, 'utf8');
  writeFileSync(page, pattern.test(text) ? text.replace(pattern, () => made) : `${text}\n${made}\n`);
}
