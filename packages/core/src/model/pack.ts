/**
 * Prompts and responses as rows of token ids with everything the forward needs to know about them; plain arrays.
 * A row is [prompt, padded right to L | K responses, each padded right to T]; with a single response per prompt it is
 * [prompt and response, padded right to L].
 */
import { invariant, UserError } from '../errors.ts';
import type { Grid, Prompt } from '../types.ts';
import type { ModelConfig } from './config.ts';
import type { Layout } from './attention.ts';

/** A prompt with the responses that are to be scored; their number and lengths may differ. */
export interface PromptWithResponses {
  readonly prompt: Prompt;
  readonly responses: readonly (readonly number[])[];
}

/** Places that a sequence takes from its first token on. */
export interface Run {
  readonly row: number;
  /** Which of the row's responses; undefined: the prompt. */
  readonly response: number | undefined;
  /** Among the B * S places. */
  readonly start: number;
  readonly length: number;
}

export interface Packed {
  readonly layout: Layout;
  readonly batch: number;
  /** [B * S], S = L + K T */
  readonly ids: Int32Array;
  /** [3][B * S] */
  readonly positions: readonly [Int32Array, Int32Array, Int32Array];
  /** Places among the B * S tokens that features of images and videos take, in the order in which they appear. */
  readonly imagePlaces: readonly number[];
  /** Every sequence; places of none are padding. */
  readonly runs: readonly Run[];
  /** Places whose hidden states predict the tokens of responses, in order, and those tokens. */
  readonly predictors: readonly number[];
  readonly targets: readonly number[];
  /** [B, L]: -Infinity at the padding of the prompts; undefined where all are equally long. */
  readonly padding: Float32Array | undefined;
}

const maxOf = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), 0);

/** The first position after a prompt, on all three axes: behind its last token, however far a video before it reaches. */
export function nextPosition({ positionIds }: Prompt): number {
  return 1 + Math.max(...positionIds.map((axis) => axis.at(-1) ?? -1));
}

function paddingMask(lengths: readonly number[], prefix: number): Float32Array | undefined {
  if (lengths.every((length) => length === prefix)) return undefined;
  const values = new Float32Array(lengths.length * prefix);
  lengths.forEach((length, b) => values.fill(-Infinity, b * prefix + length, (b + 1) * prefix));
  return values;
}

/**
 * Where prompts have a single response each, prompt and response are one causal sequence: nothing is shared, and plain
 * attention is cheaper.
 */
function join(items: readonly PromptWithResponses[]): PromptWithResponses[] {
  return items.map(({ prompt, responses: [response = []] }) => {
    const read = response.slice(0, -1);
    const next = nextPosition(prompt);
    const follow = (axis: readonly number[]): number[] => [...axis, ...read.map((_, t) => next + t)];
    const [time, height, width] = prompt.positionIds;
    return {
      prompt: {
        ...prompt,
        inputIds: [...prompt.inputIds, ...read],
        positionIds: [follow(time), follow(height), follow(width)],
      },
      responses: [],
    };
  });
}

/** Grids of a prompt's images and videos in the order in which they appear: that of its patches. */
export function visualGrids(prompt: Prompt, { imageTokenId, videoTokenId, vision }: ModelConfig): Grid[] {
  const { inputIds, imageGridThw, videoGridThw = [] } = prompt;
  if (videoGridThw.length === 0) return [...imageGridThw];
  const [images, videos] = [imageGridThw.values(), videoGridThw.values()];
  const grids: Grid[] = [];
  // Text may stand between the temporal patches of a video.
  let left = 0;
  for (const id of inputIds) {
    if (id !== imageTokenId && id !== videoTokenId) continue;
    if (left === 0) {
      const grid = (id === imageTokenId ? images : videos).next().value;
      invariant(grid, 'placeholders have a grid');
      grids.push(grid);
      left = (grid[0] * grid[1] * grid[2]) / vision.spatialMergeSize ** 2;
    }
    left--;
  }
  return grids;
}

/** Sliding attention is attention within its window, dynamic scaling none up to its length: the same numbers. */
export function requireVisible(length: number, { text: { reach } }: Pick<ModelConfig, 'text'>): void {
  if (reach === undefined || length <= reach.tokens) return;
  const what = { window: 'the sliding window', dynamic: 'the trained length, behind which rotary embeddings change,' };
  throw new UserError(`${length} tokens do not fit into ${what[reach.of]} of ${reach.tokens} tokens`, {
    remedy: 'Shorten the prompt or the response: what config.json says of longer ones is not supported.',
  });
}

/**
 * @throws RangeError for an empty response: nothing would be scored.
 */
export function pack(
  items: readonly PromptWithResponses[],
  { imageTokenId, videoTokenId }: Pick<ModelConfig, 'imageTokenId' | 'videoTokenId'>,
): Packed {
  if (items.some(({ responses }) => responses.some(({ length }) => length === 0))) {
    throw new RangeError('a response without tokens cannot be scored');
  }
  const single = items.every(({ responses }) => responses.length <= 1);
  const rows = single ? join(items) : items;
  const lengths = rows.map(({ prompt }) => prompt.inputIds.length);
  const prefix = maxOf(lengths);
  const responses = maxOf(rows.map((item) => item.responses.length));
  // The last token of a response is only predicted, never read.
  const tokens = single ? 0 : Math.max(1, maxOf(rows.flatMap((item) => item.responses.map((each) => each.length - 1))));
  const row = prefix + responses * tokens;
  const ids = new Int32Array(items.length * row);
  const positions = [new Int32Array(ids.length), new Int32Array(ids.length), new Int32Array(ids.length)] as const;
  const imagePlaces: number[] = [];
  const runs: Run[] = [];
  const predictors: number[] = [];
  const targets: number[] = [];

  rows.forEach(({ prompt, responses: shared }, b) => {
    const start = b * row;
    ids.set(prompt.inputIds, start);
    positions.forEach((axis, a) => axis.set(prompt.positionIds[a] ?? [], start));
    const length = items[b]?.prompt.inputIds.length ?? 0;
    prompt.inputIds.slice(0, length).forEach((id, i) => {
      if (id === imageTokenId || id === videoTokenId) imagePlaces.push(start + i);
    });
    runs.push({ row: b, response: undefined, start, length });
    const next = nextPosition(prompt);
    shared.forEach((response, k) => {
      const at = start + prefix + k * tokens;
      ids.set(response.slice(0, -1), at);
      for (const axis of positions) for (let t = 0; t < response.length - 1; t++) axis[at + t] = next + t;
    });
    items[b]?.responses.forEach((response, k) => {
      const at = single ? start + length : start + prefix + k * tokens;
      runs.push({ row: b, response: k, start: at, length: response.length - 1 });
      response.forEach((id, t) => {
        predictors.push(t === 0 ? start + length - 1 : at + t - 1);
        targets.push(id);
      });
    });
  });
  return {
    layout: { lengths, prefix, responses, tokens },
    batch: items.length,
    ids,
    positions,
    imagePlaces,
    runs,
    predictors,
    targets,
    padding: paddingMask(lengths, prefix),
  };
}
