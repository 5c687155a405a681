/** What is asked of the index of groups, and what it answers. */
export const FILTERS = {
  all: '1',
  active: 'active = 1',
  inactive: 'active = 0',
  zero: 'accuracyBest <= 0',
  full: 'accuracyWorst > 0 AND spreadAccuracy = 0',
  cut: 'cut > 0',
  solved: 'accuracyBest > 0 AND before <= 0',
  broken: 'accuracyBest <= 0 AND before > 0',
} as const;
export type Filter = keyof typeof FILTERS;

export const SORTS = {
  newest: 'step DESC, place',
  oldest: 'step, place',
  worst: 'mean, step DESC',
  best: 'mean DESC, step DESC',
  spread: 'spread DESC, step DESC',
} as const;
export type Sort = keyof typeof SORTS;

export interface GroupQuery {
  readonly filter: Filter;
  readonly sort: Sort;
  /** Groups of this sample alone. */
  readonly id?: string | undefined;
  readonly step?: number | undefined;
  /** Text that the line of a group holds. */
  readonly text?: string | undefined;
  readonly from: number;
  readonly limit: number;
}

export interface GroupRow {
  readonly step: number;
  /** Line in its file, from 0. */
  readonly place: number;
  readonly id: string;
  readonly problem: string;
  /** 1 where the label was; null without one. */
  readonly active: number | null;
  readonly form: string | null;
  readonly rollouts: number;
  readonly mean: number;
  readonly spread: number;
  readonly accuracyBest: number;
  readonly cut: number;
}

/** A sample whose label may be wrong. */
export interface Suspect {
  readonly id: string;
  readonly problem: string;
  /** 0 to 1. */
  readonly suspicion: number;
  /** Groups that say so, and the last step among them. */
  readonly seen: number;
  readonly step: number;
}

export interface GroupAnswer {
  readonly total: number;
  readonly rows: readonly GroupRow[];
  /** Files that are in the index, and files that there are. */
  readonly indexed: { readonly done: number; readonly files: number };
  /** A search by text stopped at this step for want of time. */
  readonly searchedTo?: number | undefined;
}
