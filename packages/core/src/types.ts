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

/** One line of a dataset: image(s), question, ground truth as its author wrote it. */
export interface Sample {
  readonly id: string;
  /** Absolute paths, in the order in which they appear in the prompt. */
  readonly images: readonly string[];
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

/**
 * How pixels of the original image relate to the coordinates the model speaks
 * (Qwen2.5-VL: pixels of the resized image; Qwen2-VL: 0 to 1000).
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

/** One response of a group after reward control. */
export interface Member {
  readonly kind: 'label' | 'rollout';
  readonly response: Response;
  readonly terms: Terms;
  /** Sum over terms of weight * term, after reward control. */
  readonly reward: number;
  /** Equations 2, 6, 7. */
  readonly advantage: number;
}

/** What the three reward controls did to the label of one prompt. */
export interface LabelControl {
  /** Name of the surface form that align chose. */
  readonly form: string;
  /** False when smooth switched the external signal off for this prompt, or a label for failures was not needed. */
  readonly active: boolean;
  /** `member`: advantages are computed over it, too; `target`: it stands outside of the group and is imitated. */
  readonly role: LabelRole;
}

export type LabelRole = 'member' | 'target';

/** A prompt with its responses: what advantages are computed over, and the label. */
export interface Group {
  readonly sample: Sample;
  readonly prompt: Prompt;
  /** The label first where it takes part, then the rollouts. */
  readonly members: readonly Member[];
  readonly label: LabelControl | undefined;
}
