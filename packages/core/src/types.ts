/**
 * The vocabulary of the system: plain data that the stages hand to each other, in the order of Algorithm 1.
 *
 * Shape suffixes used in comments: B prompts, G rollouts of a prompt, M members of a group (G, or G + 1 with the
 * label), T tokens of a response, L tokens of a prompt, N image patches.
 */

/** Corners x0, y0, x1, y1 in pixels. In `Sample`, `Truth` and everything a task sees: pixels of the original image. */
export type Box = readonly [number, number, number, number];

/** x, y in pixels of the original image. */
export type Point = readonly [number, number];

/** Where a sample came from, for messages. `line` counts from 1. */
export interface Source {
  readonly file: string;
  readonly line: number;
}

/** A video: its frames, files of one size in the order of time, and how many of them there are per second. */
export interface Clip {
  readonly video: readonly string[];
  readonly fps: number;
}

/** One line of a dataset: image(s), question, ground truth as its author wrote it. */
export interface Sample {
  readonly id: string;
  /** Absolute paths, in the order in which they appear in the prompt. */
  readonly images: readonly string[];
  /** Likewise; absent without videos. */
  readonly videos?: readonly Clip[] | undefined;
  readonly problem: string;
  /** The label in the dataset's form (for grounding: JSON); the task parses it. */
  readonly solution: string;
  /** The label's own reasoning, where it has one; without tags. */
  readonly thinking?: string | undefined;
  readonly task: string;
  /** Every other field of the line, untouched. */
  readonly extra: Readonly<Record<string, unknown>>;
  readonly source: Source;
}

/** Samples in their order: an array is one; many are not held, but read again from their file where they are asked for. */
export interface Samples extends Iterable<Sample> {
  readonly length: number;
  at(index: number): Sample | undefined;
  slice(start?: number, end?: number): Sample[];
  some(holds: (sample: Sample) => boolean): boolean;
  map<T>(make: (sample: Sample) => T): T[];
  filter(holds: (sample: Sample) => boolean): Sample[];
}

/**
 * How pixels of the original image relate to the coordinates the model speaks
 * (by family: pixels of the resized image, or 0 to 1000).
 */
export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly modelWidth: number;
  readonly modelHeight: number;
}

/** Extent of an image or a video in patches: time, height, width. */
export type Grid = readonly [number, number, number];

/** One prompt as the model takes it. */
export interface Prompt {
  /** The rendered chat template, one `<|image_pad|>` per image and one `<|video_pad|>` per video. */
  readonly rendered: string;
  /** [L], placeholders expanded. */
  readonly inputIds: readonly number[];
  /**
   * Images and videos, in the order in which they appear, as normalised patches [N, channels * temporal * patch * patch],
   * row-major; undefined where there are none.
   */
  readonly pixelValues: Float32Array | undefined;
  /** Of `pixelValues`, where those are not rows of patches: [tiles, channels, height, width] over all images. */
  readonly pixelShape?: readonly number[];
  /** Files that the images came from, one entry per image; what is computed from an image is remembered by its file. */
  readonly images?: readonly string[];
  /** [t, h, w] in patches, one entry per image. */
  readonly imageGridThw: readonly Grid[];
  /** [t, h, w] in patches, one entry per video; absent without videos. */
  readonly videoGridThw?: readonly Grid[];
  /** M-RoPE positions: [3][L] (time, height, width). */
  readonly positionIds: readonly [readonly number[], readonly number[], readonly number[]];
  /** One per image. */
  readonly frames: readonly Frame[];
}

export type StopReason = 'eos' | 'length';

/** What the policy said, or what the label says, as tokens and as text. */
export interface Response {
  /** [T], the stop token included when there is one. */
  readonly tokens: readonly number[];
  /** Decoded without the stop token. */
  readonly text: string;
  readonly stop: StopReason;
}

/** A sampled response with the log-probability (temperature 1, full vocabulary) of each of its tokens. */
export interface Rollout extends Response {
  /** [T] */
  readonly logProbs: readonly number[];
}

/** Raw reward terms of one response, before their weights: `thinking`, `format`, `accuracy`, ... */
export type Terms = Readonly<Record<string, number>>;

/** A rollout with what it earned. */
export interface ScoredRollout {
  readonly response: Rollout;
  readonly terms: Terms;
  /** Sum over terms of weight * term. */
  readonly reward: number;
  /** Equations 2 and 6. */
  readonly advantage: number;
  /** Cut off by the limit on its length and left out of the loss; it stays in the statistics of its group. */
  readonly masked: boolean;
}

/** `member`: advantages are computed over it, too; `target`: it stands outside of the group and is imitated. */
export type LabelPlace = 'member' | 'target';

/** The label of one prompt, after everything that was decided about it. */
export interface Label {
  /** `aside`: it was to join its group only if that failed, and the group did not fail. */
  readonly place: LabelPlace | 'aside';
  /** Name of the surface form that align chose. */
  readonly form: string;
  readonly response: Response;
  /** After eliminate; empty for a target that nothing is compared with. */
  readonly terms: Terms;
  /** r(y) as it was scored. */
  readonly rewardBefore: number;
  /** r(y) after eliminate and smooth. */
  readonly reward: number;
  /** What equation 7 is multiplied by. */
  readonly weight: number;
  /** A_y: equation 7, times the weight; 0 where the label is not active, and outside of the group. */
  readonly advantage: number;
  /** False where the external signal is off for this prompt. */
  readonly active: boolean;
  /** Places of the rollouts that switched it off, from 0. */
  readonly reachedBy: readonly number[];
}

/** A prompt with its rollouts, and the label where it has one. */
export interface Group {
  readonly sample: Sample;
  readonly prompt: Prompt;
  readonly rollouts: readonly ScoredRollout[];
  readonly label?: Label | undefined;
  /** Responses that a reward could not judge, and that left the group. */
  readonly skipped: number;
}
