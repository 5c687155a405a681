/** What the server answers, as the page reads it: type imports alone. */
import type { GroupRecord, RunEvent, SampleRecord, StartEvent } from '@visurf/core/records';
import type { GroupRow, Suspect as Suspected } from './group-query.ts';
import type { AnswerRecord, RunSummary } from './run-view.ts';

export type { Curve } from './curves.ts';
export type { Outcome } from './counterfactual.ts';
export type { Filter, GroupAnswer as GroupPage, GroupRow, Sort } from './group-query.ts';
export type { Histogram } from './histograms.ts';
export type { RunSummary } from './run-view.ts';
export type { ResponseRecord as Response, SampleRecord as Sample } from '@visurf/core/records';
export type { Box as Corners, Point as Spot } from '@visurf/core/records';

type Warning = Pick<Extract<RunEvent, { type: 'warning' }>, 'step' | 'message'>;

export interface Run extends Omit<RunSummary, 'warnings'> {
  readonly version: string;
  readonly config: string;
  /** Lines of the log that are no events. */
  readonly damaged: readonly string[];
  /** Pictures that the run has not kept may be had. */
  readonly hasElsewhere: boolean;
  readonly start: StartEvent | undefined;
  readonly warnings: readonly Warning[];
  readonly resumes: readonly { readonly step: number; readonly time: number }[];
  /** Steps. */
  readonly evaluations: readonly number[];
  /** Samples that the label court has decided about. */
  readonly decided: number;
}

export interface GroupDetails {
  readonly group: GroupRecord;
  readonly sample: SampleRecord | undefined;
  readonly history: readonly GroupRow[];
  /** Of the terms of the reward. */
  readonly weights: Readonly<Record<string, number>>;
}

export interface ComparedAnswer extends AnswerRecord {
  readonly before: AnswerRecord | undefined;
  readonly change: number;
  readonly sample: SampleRecord | undefined;
}

export interface Suspect extends Suspected {
  readonly sample: SampleRecord | undefined;
  readonly decision: { readonly action: string } | undefined;
}

export interface Court {
  /** Where decisions go. */
  readonly file: string;
  readonly suspects: readonly Suspect[];
}

/** What a model said, and what it points at, in pixels of the original. */
export type Said = Pick<AnswerRecord, 'text' | 'boxes' | 'points'>;

/** One of the two models of a question. */
export type Model = 'base' | 'trained';

/** What comes of a question, a line each, as it comes. */
export type TryWord =
  | { readonly kind: 'picture'; readonly width: number; readonly height: number }
  | { readonly kind: 'state'; readonly model: Model; readonly state: 'loading' | 'answering' }
  | { readonly kind: 'text'; readonly model: Model; readonly text: string }
  | {
      readonly kind: 'answer';
      readonly model: Model;
      readonly text: string;
      readonly boxes: Said['boxes'];
      readonly points: Said['points'];
      readonly seconds: number;
    }
  /** Why a model says nothing. */
  | { readonly kind: 'none'; readonly model: Model; readonly reason: string };
