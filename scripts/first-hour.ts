/**
 * Types the first hour of docs/first-hour.md and writes down what came of it: `node scripts/first-hour.ts DATA_FOLDER`, where
 * the three sets lie. Ten steps of a miniature say how it goes, not how far.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const base = path.join(root, 'recipes/mini-grounding/base');
const page = path.join(root, 'docs/first-hour.md');

/** Sets, by the name of their format. */
const SETS = [
  ['a COCO export of Roboflow: 120 photos of blood cells', 'blood-cells-roboflow-coco'],
  ['YOLO: 48 photos of COCO', 'coco128-yolo'],
  ['Pascal VOC: 167 photos of raccoons', 'raccoon-voc-csv'],
] as const;

const [data] = process.argv.slice(2);
if (data === undefined) throw new Error('name the folder of the sets');

interface Typed {
  readonly command: string;
  readonly seconds: number;
  readonly lines: readonly string[];
}

/** Runs a command in a folder; of what it says lines are kept as a reader needs them, without places of this machine. */
function type(folder: string, command: string, ...args: readonly string[]): Typed {
  const start = performance.now();
  const { status, stdout, stderr } = spawnSync(path.join(root, 'visurf'), args, { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
  const said = stderr.split('\n').filter((line) => /^(before training|step \d+: gIoU|warning|ended)/.test(line));
  const placeless = [...said, ...stdout.trimEnd().split('\n')].map((line) =>
    line.replaceAll(`${folder}/`, '').replaceAll(path.join(root, 'visurf'), 'visurf'),
  );
  const lines = placeless.map((line) => (line.length > 118 ? `${line.slice(0, 115)}...` : line));
  return { command, seconds: (performance.now() - start) / 1000, lines };
}

const sections = SETS.map(([title, name]) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'first-hour-'));
  mkdirSync(folder, { recursive: true });
  const typed = [
    type(
      folder,
      `visurf init ${name} --model BASE`,
      ...['init', path.join(data, name), '--model', base, '--prompt', 'find {Question}', '--no-open'],
      ...['--samples', '16', '--seconds', '60'],
    ),
    type(
      folder,
      'visurf train config.yaml steps=10 promptsPerStep=4 eval.limit=20 eval.every=5',
      ...['train', 'config.yaml', 'steps=10', 'promptsPerStep=4', 'eval.limit=20', 'eval.every=5', 'eval.patience='],
    ),
  ];
  const blocks = typed.map(
    ({ command, seconds, lines }) =>
      `\`${command}\` (${seconds.toFixed(0)} s)\n\n\`\`\`\n${lines.join('\n')}\n\`\`\`\n`,
  );
  return `## ${title}\n\n${blocks.join('\n')}`;
});
const made = `<!-- made by scripts/first-hour.ts -->\n\n${sections.join('\n')}\n<!-- end -->`;
const text = readFileSync(page, 'utf8');
writeFileSync(
  page,
  text.replace(/<!-- made by scripts\/first-hour\.ts -->[^]*?<!-- end -->/, () => made),
);
