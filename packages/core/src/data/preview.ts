/** A page that shows samples with their boxes drawn. */
import sharp from 'sharp';
import { writeAside } from '../disk/durable.ts';
import { fileError } from '../errors.ts';
import type { Frame, Sample } from '../types.ts';
import { readDataset, type DatasetOptions } from './dataset.ts';
import { describeFinding } from './findings.ts';
import type { Frames } from './images.ts';
import { boxesIn } from './plausible.ts';
import { someFrames } from './videos.ts';

export interface PreviewOptions extends DatasetOptions {
  readonly output: string;
  /** Samples shown, from the start. */
  readonly shown: number;
}

/** Longer side of the pictures on the page. */
const SIDE = 640;

/** Writes the page; the pictures are in it. Returns how many samples it shows, and of how many. */
export async function previewData(file: string, options: PreviewOptions): Promise<{ shown: number; n: number }> {
  const { samples, findings, frames } = await readDataset(file, options);
  const some = samples.slice(0, options.shown);
  const cards: string[] = [];
  for (const sample of some) {
    options.signal?.throwIfAborted();
    cards.push(await card(sample, frames));
  }
  const faults = findings.slice(0, 100).map((finding) => `<li>${escape(describeFinding(finding))}</li>`);
  const page = [
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escape(file)}</title><style>${STYLE}</style>`,
    `<h1>${escape(file)}</h1><p>${some.length} of ${samples.length} samples</p>`,
    faults.length > 0 ? `<ul class="faults">${faults.join('')}</ul>` : '',
    `<main>${cards.join('\n')}</main></html>\n`,
  ];
  try {
    writeAside(options.output, page.join('\n'));
  } catch (error) {
    throw fileError(error, { where: options.output });
  }
  return { shown: some.length, n: samples.length };
}

const STYLE =
  'body{font:15px system-ui;margin:2em}main{display:flex;flex-wrap:wrap;gap:1.5em}article{width:22em}' +
  'svg{width:100%;background:#8884}rect{fill:none;stroke:#e11;stroke-width:2;vector-effect:non-scaling-stroke}' +
  'circle{fill:#e11}pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px}.faults{color:#b00}';

async function card(sample: Sample, frames: Frames): Promise<string> {
  const shown = [...sample.images, ...(sample.videos ?? []).flatMap((clip) => someFrames(clip))];
  const pictures = await Promise.all(
    shown.map(async (file, i) => {
      const frame = frames.get(file);
      if (!frame) return `<p>not readable: ${escape(file)}</p>`;
      return await picture(file, frame, i === 0 && sample.images.length > 0 ? sample : undefined);
    }),
  );
  const { id, problem, solution, task } = sample;
  const answer = solution.length > 600 ? `${solution.slice(0, 600)}...` : solution;
  return (
    `<article>${pictures.join('')}<h3>${escape(problem)}</h3>` +
    `<pre>${escape(answer)}</pre><small>${escape(task)} · ${escape(id)}</small></article>`
  );
}

async function picture(file: string, { width, height }: Frame, sample: Sample | undefined): Promise<string> {
  const small = sharp(file).autoOrient().resize(SIDE, SIDE, { fit: 'inside', withoutEnlargement: true });
  const data = (await small.webp({ quality: 80 }).toBuffer()).toString('base64');
  const boxes = sample ? boxesIn(sample) : [];
  const drawn = boxes.map(
    ([x0, y0, x1, y1]) =>
      `<rect x="${x0}" y="${y0}" width="${Math.max(x1 - x0, 0)}" height="${Math.max(y1 - y0, 0)}"/>`,
  );
  const image = `<image href="data:image/webp;base64,${data}" width="${width}" height="${height}"/>`;
  return `<svg viewBox="0 0 ${width} ${height}">${image}${drawn.join('')}</svg>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escape = (text: string): string => text.replace(/[&<>"']/g, (char) => ENTITIES[char]!);
