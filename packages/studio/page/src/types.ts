/** What the server answers. */
export type Corners = readonly [number, number, number, number];
export type Spot = readonly [number, number];

export interface RunSummary {
  readonly id: string;
  readonly name: string;
  readonly paradigm?: string;
  readonly model?: string;
  readonly seed?: number;
  readonly state: 'running' | 'silent' | 'finished' | 'stopped' | 'failed' | 'empty';
  readonly reason?: string;
  readonly step: number;
  readonly steps?: number;
  readonly started?: number;
  readonly updated?: number;
  readonly timeLeft?: number;
  readonly best?: { readonly metric: string; readonly value: number; readonly step: number };
  readonly spark: readonly number[];
  readonly warnings: number;
}

export interface RunDetails extends RunSummary {
  readonly version: string;
  readonly config: string;
  readonly damaged: readonly string[];
  readonly warnings: never;
  readonly start?: { readonly command?: string; readonly commit?: string; readonly host?: string };
  readonly evaluations: readonly number[];
  readonly resumes: readonly { readonly step: number }[];
  readonly decided: number;
  /** Pictures that the run has not kept may be had. */
  readonly hasElsewhere: boolean;
}

export interface Warning {
  readonly step: number;
  readonly message: string;
}

export type Run = Omit<RunDetails, 'warnings'> & { readonly warnings: readonly Warning[] };

export interface Curve {
  readonly steps: readonly number[];
  readonly values: readonly number[];
  readonly total: number;
}
export type Curves = Readonly<Record<string, Curve>>;

export interface GroupRow {
  readonly step: number;
  readonly place: number;
  readonly id: string;
  readonly problem: string;
  readonly active: number | null;
  readonly form: string | null;
  readonly rollouts: number;
  readonly mean: number;
  readonly spread: number;
  readonly accuracyBest: number;
  readonly cut: number;
}

export interface GroupPage {
  readonly total: number;
  readonly rows: readonly GroupRow[];
  readonly indexed: { readonly done: number; readonly files: number };
  readonly searchedTo?: number;
}

export interface Said {
  readonly text: string;
  readonly boxes: readonly Corners[];
  readonly points: readonly Spot[];
}

export interface Response extends Said {
  readonly stop: string;
  readonly length: number;
  readonly logProb?: number;
  readonly terms: Readonly<Record<string, number>>;
  readonly reward: number;
  readonly advantage: number;
}

export interface Label extends Response {
  readonly place: string;
  readonly form: string;
  readonly active: boolean;
  readonly rewardBefore: number;
  readonly weight: number;
  readonly reachedBy: readonly number[];
}

export interface Sample {
  readonly id: string;
  readonly problem: string;
  readonly task: string;
  readonly prompt: string;
  readonly images: readonly { readonly path?: string; readonly width: number; readonly height: number }[];
  readonly solution: string;
  readonly boxes: readonly Corners[];
  readonly points: readonly Spot[];
}

export interface Group {
  readonly step: number;
  readonly id: string;
  readonly problem: string;
  readonly solution: string;
  readonly label?: Label;
  readonly rollouts: readonly (Response & { readonly masked?: boolean })[];
}

export interface GroupDetails {
  readonly group: Group;
  readonly sample?: Sample;
  readonly history: readonly GroupRow[];
  readonly weights: Readonly<Record<string, number>>;
}

export interface Answer extends Said {
  readonly id: string;
  readonly reward?: number;
  readonly evaluation?: Readonly<Record<string, unknown>>;
}

export interface ComparedAnswer extends Answer {
  readonly before?: Answer;
  readonly change: number;
  readonly sample?: Sample;
}

export interface Outcome {
  readonly label?: { readonly reward: number; readonly active: boolean; readonly advantage: number };
  readonly rollouts: readonly number[];
  readonly labelShare: number;
}

export interface Suspect {
  readonly id: string;
  readonly problem: string;
  readonly suspicion: number;
  readonly seen: number;
  readonly step: number;
  readonly sample?: Sample;
  readonly decision?: { readonly action: string };
}

export interface Court {
  readonly file: string;
  readonly suspects: readonly Suspect[];
}
