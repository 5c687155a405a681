/** Pictures with the label's and the policies' boxes, and what each policy said. */
import { unionIou } from '../tasks/grounding/geometry.ts';
import type { Box } from '../types.ts';
import type { ReportAnswer, ReportSample } from './data.ts';
import { html, type Html } from './html.ts';
import type { Palette } from './palette.ts';
import type { Picture } from './picture.ts';

/** Boxes drawn and characters shown of one answer: a model may say anything, at any length. */
const MOST_BOXES = 50;
const MOST_TEXT = 600;
/** Smaller pictures show their pixels. */
const SMOOTH_FROM = 240;

export interface ShownSample extends ReportSample {
  readonly picture: Picture;
}

export function gallery(samples: readonly ShownSample[], palette: Palette): Html {
  const names = [...new Set(samples.flatMap(({ answers }) => answers.map(({ name }) => name)))];
  const toggles = names.map((name) => toggle(palette.of(name), name));
  return html`<div class="layers">
    <div class="toggles" aria-label="Boxes shown">${toggle('truth', 'label')}${toggles}</div>
    <div class="gallery">${samples.map((sample, i) => card(sample, palette, `p${i}`))}</div>
  </div>`;
}

function toggle(kind: string, name: string): Html {
  return html`<label class="${kind}"><input type="checkbox" class="show-${kind}" checked /><i></i>${name}</label>`;
}

function card({ picture, question, truth, said, answers }: ShownSample, palette: Palette, id: string): Html {
  const { width, height, url } = picture;
  const drawn = html`${boxes(truth, 'truth', picture)}
  ${answers.map((answer) => boxes(answer.boxes, palette.of(answer.name), picture))}`;
  const part = magnified([truth, ...answers.map((answer) => answer.boxes)].flat(), picture);
  const pixels = Math.max(width, height) < SMOOTH_FROM ? ' pixels' : '';
  return html`<article>
    <svg class="picture${pixels}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${question}">
      <image id="${id}" href="${url}" width="${width}" height="${height}" preserveAspectRatio="none" />
      ${drawn}
    </svg>
    ${
      part &&
      html`<svg class="picture zoom${pixels}" viewBox="${part}" role="img" aria-label="${question}, magnified">
        <use href="#${id}" />
        ${drawn}
      </svg>`
    }
    <h3>${question}</h3>
    <p class="said">
      ${said ?? (truth.length === 0 ? 'Nothing matches' : truth.length === 1 ? 'One object' : `${truth.length} objects`)}
    </p>
    <dl>${answers.map((answer) => response(answer, truth, palette))}</dl>
  </article>`;
}

function response(answer: ReportAnswer, truth: readonly Box[], palette: Palette): Html {
  const { text, right } = verdict(answer, truth);
  const rest = answer.text.length - MOST_TEXT;
  const shortened =
    rest > 0 ? html`${answer.text.slice(0, MOST_TEXT)}<em> … and ${rest} characters more</em>` : answer.text;
  return html`<dt class="${palette.of(answer.name)}">
      <i></i>${answer.name}<span class="${right ? 'right' : 'wrong'}">${text}</span>
    </dt>
    <dd dir="auto">${answer.text === '' ? html`<em>(nothing)</em>` : shortened}</dd>`;
}

/** How an answer compares to the label. */
export function verdict(
  { boxes, wellFormed, right }: ReportAnswer,
  truth: readonly Box[],
): { text: string; right: boolean } {
  if (!wellFormed) return { text: 'malformed', right: false };
  if (right !== undefined) return { text: right ? 'right' : 'wrong', right };
  if (truth.length === 0) {
    return boxes.length === 0 ? { text: 'rightly empty', right: true } : { text: 'invented', right: false };
  }
  if (boxes.length === 0) return { text: 'missed', right: false };
  const iou = unionIou(boxes, truth);
  return { text: `IoU ${iou.toFixed(2)}`, right: iou > 0.5 };
}

function boxes(all: readonly Box[], kind: string, picture: Picture): Html {
  const visible = all.slice(0, MOST_BOXES).flatMap((box) => inside(box, picture) ?? []);
  const rectangles = visible.map(({ x, y, width, height }) => {
    const place = html`x="${x}" y="${y}" width="${width}" height="${height}"`;
    return html`<rect class="halo" ${place} /><rect ${place} />`;
  });
  return html`<g class="boxes ${kind}">${rectangles}</g>`;
}

/** Share of a picture that boxes are on below which that part is shown once more, larger. */
const SMALL_PART = 0.3;

/** The view box of the part that boxes are on; undefined where they are on most of the picture, or there are none. */
export function magnified(all: readonly Box[], picture: Pick<Picture, 'width' | 'height'>): string | undefined {
  const seen = all.slice(0, MOST_BOXES).flatMap((box) => inside(box, picture) ?? []);
  if (seen.length === 0) return undefined;
  const span = (from: (box: Inside) => number, to: (box: Inside) => number, most: number): [number, number] => {
    const [low, high] = [Math.min(...seen.map(from)), Math.max(...seen.map(to))];
    const margin = Math.max(0.5 * (high - low), most / 20);
    return [Math.max(0, low - margin), Math.min(most, high + margin)];
  };
  const [x0, x1] = span(
    ({ x }) => x,
    ({ x, width }) => x + width,
    picture.width,
  );
  const [y0, y1] = span(
    ({ y }) => y,
    ({ y, height }) => y + height,
    picture.height,
  );
  const [width, height] = [x1 - x0, y1 - y0];
  if (width * height > SMALL_PART * picture.width * picture.height) return undefined;
  return [x0, y0, width, height].map((value) => Math.round(value * 100) / 100).join(' ');
}

interface Inside {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** The part of a box that lies in the picture. */
function inside([x0, y0, x1, y1]: Box, { width, height }: Pick<Picture, 'width' | 'height'>): Inside | undefined {
  const clamp = (value: number, most: number): number => Math.round(Math.min(most, Math.max(0, value)) * 100) / 100;
  const [left, top, right, bottom] = [clamp(x0, width), clamp(y0, height), clamp(x1, width), clamp(y1, height)];
  if (![left, top, right, bottom].every(Number.isFinite) || right < left || bottom < top) return undefined;
  return { x: left, y: top, width: right - left, height: bottom - top };
}
