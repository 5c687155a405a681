/**
 * Screens of an application: a bar of tabs, and buttons and fields below it, each with an icon or a short word. They are
 * SVG documents, rendered by librsvg. A pair of label and kind occurs once, so a description names one control.
 */
import { SIDE, type Corners, type Random } from '@visurf/mini-grounding/kit';
import sharp from 'sharp';

import { LABEL_NAMES, LABELS, type Label } from './icons.ts';
import { drawOf, type Pixels, type Split, type Thing } from './picture.ts';

export const CONTROLS = ['tab', 'button', 'field'] as const;
export type ControlKind = (typeof CONTROLS)[number];

export interface Control {
  readonly kind: ControlKind;
  readonly label: Label;
  readonly box: Corners;
  /** Fill of a button. */
  readonly hue: string;
}

export interface Screen {
  readonly dark: boolean;
  /** Which tab is the current one. */
  readonly current: number;
  readonly controls: readonly Control[];
}

const TABS = 3;
const [COLUMNS, ROWS] = [2, 3];
const HUES = ['#2563eb', '#15803d', '#b91c1c', '#7c3aed', '#b45309'] as const;

const describe = ({ label, kind }: Control): string => `${label} ${kind}`;

export const drawScreen = (split: Split, random: Random): Screen =>
  drawOf(split, random, draw, ({ controls }) => `screen/${controls.map(describe).sort().join(', ')}`);

/** Three tabs, and three to five controls in the cells of a grid; labels may occur twice, on controls of two kinds. */
function draw(random: Random): Screen {
  const labels: Record<ControlKind, Label[]> = { tab: [], button: [], field: [] };
  const pick = (kind: ControlKind): Label => {
    const label = random.pick(LABEL_NAMES.filter((name) => !labels[kind].includes(name)));
    labels[kind].push(label);
    return label;
  };
  const barHeight = random.integer(22, 28);
  const tabs = Array.from({ length: TABS }, (_, i): Control => {
    const [left, right] = [i, i + 1].map((edge) => Math.round((edge * SIDE) / TABS)) as [number, number];
    return { kind: 'tab', label: pick('tab'), box: [left, 0, right, barHeight], hue: '' };
  });
  const cells = shuffled(
    Array.from({ length: COLUMNS * ROWS }, (_, i) => i),
    random,
  ).slice(0, random.integer(3, 5));
  const [width, height] = [SIDE / COLUMNS, (SIDE - barHeight) / ROWS];
  const others = cells.map((cell): Control => {
    const kind = random.pick(['button', 'field'] as const);
    const size = [random.integer(30, 50), random.integer(20, Math.floor(height) - 2)] as const;
    const left = Math.round((cell % COLUMNS) * width) + random.integer(2, Math.floor(width) - 2 - size[0]);
    const top =
      barHeight + Math.floor(Math.floor(cell / COLUMNS) * height) + random.integer(1, Math.floor(height) - 1 - size[1]);
    return { kind, label: pick(kind), box: [left, top, left + size[0], top + size[1]], hue: random.pick(HUES) };
  });
  return { dark: random.uniform() < 0.3, current: random.integer(0, TABS - 1), controls: [...tabs, ...others] };
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, key: random.uniform() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

export const thingsOf = ({ controls }: Screen): Thing[] =>
  controls.map(({ kind, label, box }) => ({ words: [` ${label}`, ` ${kind}`], box }));

/** Pixels to one of a label's path. */
const SCALE = 1.25;

/** The label in a box of 20 x 20 pixels around a point. */
const glyph = (label: Label, x: number, y: number, ink: string): string =>
  `<path transform="translate(${x - 8 * SCALE} ${y - 8 * SCALE}) scale(${SCALE})" d="${LABELS[label]}" fill="none" stroke="${ink}" stroke-width="2"/>`;

function svgOf({ kind, label, box: [x0, y0, x1, y1], hue }: Control, dark: boolean, isCurrent: boolean): string {
  const [x, y, width, height] = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0];
  const ink = dark ? '#e5e7eb' : '#1f2937';
  switch (kind) {
    case 'tab': {
      const line = isCurrent
        ? `<rect x="${x0 + 3}" y="${y1 - 3}" width="${width - 6}" height="3" fill="#2563eb"/>`
        : '';
      return `${glyph(label, x, y - 1, ink)}${line}`;
    }
    case 'button':
      return `<rect x="${x0}" y="${y0}" width="${width}" height="${height}" rx="5" fill="${hue}"/>${glyph(label, x, y, '#ffffff')}`;
    case 'field': {
      const paper = dark ? '#374151' : '#ffffff';
      const frame = `<rect x="${x0 + 0.5}" y="${y0 + 0.5}" width="${width - 1}" height="${height - 1}" fill="${paper}" stroke="#6b7280"/>`;
      const text = `<path d="M${x0 + 24} ${y - 2} H${x1 - 4} M${x0 + 24} ${y + 3} H${x1 - 8}" stroke="#9ca3af" stroke-width="2"/>`;
      return `${frame}${glyph(label, x0 + 12, y, ink)}${text}`;
    }
  }
}

/** The screen as an SVG document. */
export function toSvg({ dark, current, controls }: Screen): string {
  const [page, bar] = dark ? ['#111827', '#1f2937'] : ['#f3f4f6', '#d1d5db'];
  const barHeight = controls[0]?.box[3] ?? 0;
  const drawn = controls.map((control, i) => svgOf(control, dark, i === current)).join('');
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${SIDE}" height="${SIDE}">` +
    `<rect width="${SIDE}" height="${SIDE}" fill="${page}"/><rect width="${SIDE}" height="${barHeight}" fill="${bar}"/>` +
    `${drawn}</svg>`
  );
}

export async function render(screen: Screen): Promise<Pixels> {
  const { data } = await sharp(Buffer.from(toSvg(screen)))
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return new Uint8Array(data);
}
