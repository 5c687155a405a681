/**
 * `report.html`: what a training did, in one file that needs nothing else. It holds no script, and its policy forbids
 * the browser to load anything from anywhere.
 */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { removing } from '@visurf/torch/signals';
import { chart } from './chart.ts';
import { MOST_SAMPLES, type ReportData } from './data.ts';
import { gallery, type ShownSample } from './gallery.ts';
import { html, type Html } from './html.ts';
import { Palette } from './palette.ts';
import { embedPicture } from './picture.ts';
import { results } from './results.ts';
import { style } from './style.ts';

/**
 * Writes a report, all of it or nothing.
 * @throws UserError that names an image which cannot be read
 */
export async function writeReport(file: string, data: ReportData): Promise<void> {
  const samples: ShownSample[] = [];
  for (const sample of data.samples.slice(0, MOST_SAMPLES)) {
    samples.push({ ...sample, picture: await embedPicture(sample.image) });
  }
  await mkdir(path.dirname(file), { recursive: true });
  await removing(`${file}.tmp`, async () => {
    await writeFile(`${file}.tmp`, page(data, samples).markup);
    await rename(`${file}.tmp`, file);
  });
}

function page(
  { title, intro, facts = [], rows, columns, curves, notes }: ReportData,
  samples: readonly ShownSample[],
): Html {
  const palette = new Palette([...rows, ...curves.flatMap(({ series }) => series)].map(({ name }) => name));
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        />
        <title>${title}</title>
        <style>
          ${style}
        </style>
      </head>
      <body>
        <main>
          <header class="intro">
            <h1>${title}</h1>
            ${paragraphs(intro)}
            ${
              facts.length > 0
                ? html`<dl class="facts">
                    ${facts.map(
                      ([name, value]) =>
                        html`<div>
                          <dt>${name}</dt>
                          <dd>${value}</dd>
                        </div>`,
                    )}
                  </dl>`
                : undefined
            }
          </header>
          ${rows.length > 0 ? results(rows, columns, palette) : undefined}
          ${section('Training', curves, () => html`<div class="curves">${curves.map((curve) => chart(curve, palette))}</div>`)}
          ${section('Answers', samples, () => gallery(samples, palette))}
          ${section(
            'Notes',
            notes,
            () =>
              html`<ul class="notes">
                ${notes.map((note) => html`<li>${note}</li>`)}
              </ul>`,
          )}
        </main>
      </body>
    </html> `;
}

function section(title: string, content: readonly unknown[], body: () => Html): Html | undefined {
  return content.length > 0
    ? html`<section>
        <h2>${title}</h2>
        ${body()}
      </section>`
    : undefined;
}

function paragraphs(text: string): Html[] {
  return text
    .split(/\n\s*\n/)
    .filter((paragraph) => paragraph.trim() !== '')
    .map((paragraph) => html`<p>${paragraph.trim()}</p>`);
}
