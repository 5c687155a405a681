/** What a benchmark is: where its questions are, what is asked, how answers are marked, and its metrics. */
import type { Box, Frame } from '../types.ts';
import type { Mask } from '../masks/masks.ts';

/**
 * `official`: by the rules of the benchmark's authors. `visurf`: by the code that the published ViSurf figures were
 * computed with, what is peculiar to it included.
 */
export const PROTOCOLS = ['official', 'visurf'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** One question, and what marks its answer. */
export interface Item<Truth = unknown> {
  readonly id: string;
  /** Absolute paths. */
  readonly images: readonly string[];
  readonly problem: string;
  /** Or what reads it, where it is too large to be kept. */
  readonly truth: Truth | (() => Promise<Truth>);
  /** Bytes of the picture, where `images` names the file that they are to be written to. */
  readonly picture?: (() => Promise<Uint8Array>) | undefined;
}

/** A row of a mirror: what the sets of the published ViSurf evaluation have in common. */
export interface MirrorRow {
  readonly text: string;
  /** x0, y0, x1, y1 in pixels. */
  readonly box: Box | undefined;
  /** @throws UserError where the row has none */
  readonly mask: () => Promise<Mask>;
}

/** Rows of a parquet file with pictures, as the hub has the benchmark in other words than the published evaluation's. */
export interface RowForm<Truth = unknown> {
  /** Tell the form, and are read at once. */
  readonly columns: readonly string[];
  /** The column of pictures. */
  readonly picture: string;
  /**
   * The questions of a row, in which texts and whole numbers are plain.
   * @throws UserError for a row that is not as it should be
   */
  read(row: Readonly<Record<string, unknown>>, from: RowSource): readonly Omit<Item<Truth>, 'images' | 'picture'>[];
}

export interface RowSource extends LoadOptions {
  /** File and row, for messages. */
  readonly where: string;
  /** Of the row, from 0. */
  readonly number: number;
  readonly picture: () => Promise<Uint8Array>;
}

/** What was said to one question. */
export interface Said {
  readonly text: string;
  /** The way from the coordinates of the text to pixels of the original picture. */
  readonly frame: Frame;
  /** A mask in place of what a segmentation model would make of the answer's boxes. */
  readonly mask?: Mask | undefined;
  /** Probability of "yes", from 0 to 1. */
  readonly probability?: number | undefined;
}

/** What is kept of a marked answer: one line of the per-sample file. */
export type Marks = Readonly<Record<string, unknown>> & {
  /** The answer could be read. */
  readonly parsed: boolean;
};

export interface Summary {
  /** In percent; null where one is undefined for these samples. */
  readonly metrics: Readonly<Record<string, number | null>>;
  /** Where figures depart from the protocol, in sentences. */
  readonly notes: readonly string[];
}

export interface LoadOptions {
  readonly split: string;
  readonly protocol: Protocol;
}

export interface Benchmark<Truth = unknown, Own extends Marks = Marks> {
  readonly name: string;
  /** The first is used unless another is named. */
  readonly splits: readonly string[];
  /** The task that puts the question. */
  task(protocol: Protocol): string;
  /**
   * All questions of a split, as its authors publish it.
   * @throws UserError that names what is missing, what to download and where it goes
   */
  load(folder: string, options: LoadOptions): Promise<Item<Truth>[]>;
  /** Whether answers are scored by the probability of "yes" against "no" at their place; unset: no. */
  readonly isLikelihood?: ((protocol: Protocol) => boolean) | undefined;
  /** The truth of a row of the mirror that the published figures were computed on; unset: there is none. */
  mirrored?(row: MirrorRow): Item<Truth>['truth'];
  /** Other forms of its rows on the hub. */
  readonly forms?: readonly RowForm<Truth>[] | undefined;
  /** Whether a question is among those that the protocol asks; unset: all are. */
  asks?(truth: Truth, protocol: Protocol): boolean;
  /** @throws UserError where a mask is not of the picture's size */
  mark(said: Said, truth: Truth, protocol: Protocol): Own | Promise<Own>;
  summarise(marks: readonly Own[], protocol: Protocol): Summary;
}

/** 100 times the mean; null over nothing. */
export function percent<T>(items: readonly T[], value: (item: T) => number | boolean): number | null {
  if (items.length === 0) return null;
  return (100 * items.reduce((sum, item) => sum + Number(value(item)), 0)) / items.length;
}

/** 100 times a ratio; null where it is undefined. */
export const ratio = (part: number, whole: number): number | null => (whole === 0 ? null : (100 * part) / whole);

export const unparsable = (marks: readonly Marks[]): number | null => percent(marks, ({ parsed }) => !parsed);

/** `NAME.GROUP` for every group of marks that a key names, sorted; what has no key is in none. */
export function byGroup<Own>(
  marks: readonly Own[],
  keyOf: (mark: Own) => string | undefined,
  summary: (own: readonly Own[], key: string) => Readonly<Record<string, number | null>>,
): Record<string, number | null> {
  const groups = [...Map.groupBy(marks, keyOf)].flatMap(([key, own]) => (key === undefined ? [] : [{ key, own }]));
  groups.sort((a, b) => (a.key < b.key ? -1 : 1));
  return Object.assign({}, ...groups.map(({ key, own }) => summary(own, key))) as Record<string, number | null>;
}
