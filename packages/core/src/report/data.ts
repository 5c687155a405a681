/** What a report shows, as plain data. */
import type { Box } from '../types.ts';

/** One line of the results: a policy and what was measured of it. */
export interface ReportRow {
  readonly name: string;
  readonly metrics: Readonly<Record<string, number>>;
}

export interface ReportColumn {
  /** Name of the metric in a row. */
  readonly key: string;
  readonly label: string;
  /** Shown beside the label: `%`, `s`; empty for none. */
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /** A sentence: what is measured. */
  readonly definition?: string;
}

export interface ReportSeries {
  readonly name: string;
  /** x (training step) and y. A y that is not finite leaves a gap. */
  readonly points: readonly (readonly [number, number])[];
  /** x, and between which values y was. */
  readonly band?: readonly (readonly [number, number, number])[];
}

export interface ReportCurve {
  readonly title: string;
  readonly yLabel: string;
  readonly series: readonly ReportSeries[];
}

/** Bars in groups, one of each series in every group. */
export interface ReportBars {
  readonly title: string;
  readonly yLabel: string;
  readonly groups: readonly string[];
  /** A value for every group, with its interval; one that is not finite is left out. */
  readonly series: readonly {
    readonly name: string;
    readonly values: readonly { readonly mean: number; readonly low: number; readonly high: number }[];
  }[];
}

/** What one policy answered. */
export interface ReportAnswer {
  /** As in `ReportRow`. */
  readonly name: string;
  readonly text: string;
  /** In pixels of the original image. */
  readonly boxes: readonly Box[];
  readonly wellFormed: boolean;
  /** Unset: what its boxes say. */
  readonly right?: boolean;
}

export interface ReportSample {
  /** Absolute path. */
  readonly image: string;
  readonly question: string;
  /** In pixels of the original image; empty where nothing matches the question. */
  readonly truth: readonly Box[];
  /** The right answer where it is not boxes. */
  readonly said?: string;
  readonly answers: readonly ReportAnswer[];
}

export interface ReportData {
  readonly title: string;
  /** Paragraphs, separated by empty lines. */
  readonly intro: string;
  /** Of the run: names and values, such as its date. */
  readonly facts?: readonly (readonly [name: string, value: string])[];
  readonly columns: readonly ReportColumn[];
  /** The first is what the others are compared to. */
  readonly rows: readonly ReportRow[];
  readonly curves: readonly ReportCurve[];
  /** The first `MOST_SAMPLES` are shown. */
  readonly samples: readonly ReportSample[];
  readonly notes: readonly string[];
}

/** Samples whose images a report embeds. */
export const MOST_SAMPLES = 24;
