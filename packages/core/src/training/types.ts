/** The vocabulary of a training: what it is made of, what it tells while it runs, what a checkpoint of it holds. */
import type { Config } from '../config/schema.ts';
import type { CursorState } from '../data/cursor.ts';
import type { Frames } from '../data/images.ts';
import type { Processes } from '../distributed/processes.ts';
import type { DownloadProgress } from '../hub/repository.ts';
import type { FormHistory } from '../label/align.ts';
import type { Policy } from '../policy.ts';
import type { Experiment } from '../question/experiment.ts';
import type { ModelPrint } from '../question/model-print.ts';
import type { DataPrints } from '../question/resume.ts';
import type { Checkpoint } from '../run/checkpoint.ts';
import type { Phase } from '../run/phases.ts';
import type { Profile, ProfileSummary } from '../run/profile.ts';
import type { RolloutSampler } from '../rollout/groups.ts';
import type { RunRecord } from '../run/run.ts';
import type { Samples } from '../types.ts';
import type { SavedAhead } from './ahead.ts';

export type Metrics = Readonly<Record<string, number>>;

export type TrainEvent =
  | { readonly kind: 'step'; readonly step: number; readonly steps: number; readonly metrics: Metrics }
  | { readonly kind: 'eval'; readonly step: number; readonly metrics: Metrics; readonly n: number }
  | TrainProgress
  /** Of a run that goes on: seconds of its last steps, and of its last evaluation, each with what comes around it. */
  | { readonly kind: 'pace'; readonly steps: readonly number[]; readonly evaluation: number | undefined }
  /** No evaluation was better for as many as `eval.patience` says. */
  | { readonly kind: 'stopped'; readonly step: number; readonly message: string }
  | { readonly kind: 'report'; readonly path: string }
  | { readonly kind: 'checkpoint'; readonly step: number; readonly path: string }
  | ({ readonly kind: 'profile' } & ProfileSummary)
  | { readonly kind: 'warning'; readonly message: string }
  | {
      readonly kind: 'prepare';
      readonly what: 'lines' | 'images' | 'labels' | 'samples' | 'files';
      readonly done: number;
      readonly total: number;
    }
  | { readonly kind: 'download'; readonly progress: DownloadProgress }
  /** The training is over, and so many files are still to be sent to the store. */
  | { readonly kind: 'sending'; readonly left: number };

/** What is being done. */
export interface TrainProgress {
  readonly kind: 'progress';
  /** That is being made, or after which is evaluated. */
  readonly step: number;
  readonly steps: number;
  readonly phase: Phase | 'evaluation';
  /** Of the phase, where it has parts: responses that are whole, micro-batches, answers. */
  readonly done: number;
  readonly total: number;
}

export interface TrainResult {
  /** The run directory, or its address in an object store. */
  readonly run: string;
  readonly steps: number;
  /** Of the last evaluation; without one, of the last step. */
  readonly metrics: Metrics;
  readonly interrupted: boolean;
  /** Where the run is in an object store: what that does not have, and the directory that has it. */
  readonly unsent?: { readonly directory: string; readonly files: readonly string[] };
}

/** Everything that the steps of a training need. */
export interface Training {
  readonly config: Config;
  readonly policy: Policy;
  /** Who samples rollouts in its place. */
  readonly sampler: RolloutSampler | undefined;
  readonly experiment: Experiment;
  readonly samples: Samples;
  readonly validation: Samples;
  /** Sizes of the images of both. */
  readonly frames: Frames;
  readonly prints: DataPrints;
  readonly modelPrint: ModelPrint;
  readonly run: RunRecord;
  readonly checkpoint: Checkpoint | undefined;
  readonly profile: Profile | undefined;
  readonly onEvent: (event: TrainEvent) => void;
  readonly signal: AbortSignal | undefined;
  /** That train together. */
  readonly processes: Processes;
}

/** What a checkpoint holds beside tensors. */
export interface Progress {
  readonly cursor: CursorState;
  readonly forms: FormHistory;
  readonly data?: DataPrints | undefined;
  readonly model?: ModelPrint | undefined;
  /** Rollouts that wait for the next step. */
  readonly ahead?: SavedAhead | undefined;
  /** The step is still to be evaluated. */
  readonly evaluates?: boolean | undefined;
}
