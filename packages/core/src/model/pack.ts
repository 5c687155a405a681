/**
 * Prompts and responses as rows of token ids with everything the forward needs to know about them; plain arrays.
 * A row is [prompt, padded right to L | K responses, each padded right to T].
 */
import type { Prompt } from '../types.ts';
import type { Layout } from './decoder.ts';

/** A prompt with the responses that are to be scored; their number and lengths may differ. */
export interface PromptWithResponses {
  readonly prompt: Prompt;
  readonly responses: readonly (readonly number[])[];
}

export interface Packed {
  readonly layout: Layout;
  readonly batch: number;
  /** [B * S], S = L + K T */
  readonly ids: Int32Array;
  /** [3][B * S] */
  readonly positions: readonly [Int32Array, Int32Array, Int32Array];
  /** Places among the B * S tokens that image features take, in the order of the images. */
  readonly imagePlaces: readonly number[];
  /** For every response token, in order: the place whose hidden state predicts it, and the token. */
  readonly predictors: readonly number[];
  readonly targets: readonly number[];
  /** [B or 1, T, L + T]: -Infinity where a response token must not look; one for all prompts of equal length. */
  readonly mask: { readonly values: Float32Array; readonly batch: number };
}

const maxOf = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), 0);

/** The first position after a prompt, on all three axes. */
export function nextPosition({ positionIds }: Prompt): number {
  return 1 + positionIds.reduce((most, axis) => Math.max(most, maxOf(axis)), -1);
}

/** Which places of a response's row of scores [L + T] are hidden: padding of the prompt, and what comes later. */
export function responseMask(lengths: readonly number[], prefix: number, tokens: number): Packed['mask'] {
  const batch = lengths.every((length) => length === prefix) ? 1 : lengths.length;
  const width = prefix + tokens;
  const values = new Float32Array(batch * tokens * width);
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < tokens; t++) {
      const row = (b * tokens + t) * width;
      values.fill(-Infinity, row + (lengths[b] ?? prefix), row + prefix);
      values.fill(-Infinity, row + prefix + t + 1, row + width);
    }
  }
  return { values, batch };
}

/**
 * @param imageTokenId the placeholder of an image feature
 * @throws RangeError for an empty response: nothing would be scored.
 */
export function pack(items: readonly PromptWithResponses[], imageTokenId: number): Packed {
  const lengths = items.map(({ prompt }) => prompt.inputIds.length);
  const prefix = maxOf(lengths);
  const responses = Math.max(1, maxOf(items.map((item) => item.responses.length)));
  // The last token of a response is only predicted, never read.
  const tokens = Math.max(1, maxOf(items.flatMap((item) => item.responses.map((each) => each.length - 1))));
  const row = prefix + responses * tokens;
  const ids = new Int32Array(items.length * row);
  const positions = [new Int32Array(ids.length), new Int32Array(ids.length), new Int32Array(ids.length)] as const;
  const imagePlaces: number[] = [];
  const predictors: number[] = [];
  const targets: number[] = [];

  items.forEach(({ prompt, responses: given }, b) => {
    const start = b * row;
    prompt.inputIds.forEach((id, i) => {
      ids[start + i] = id;
      if (id === imageTokenId) imagePlaces.push(start + i);
    });
    positions.forEach((axis, a) => axis.set(prompt.positionIds[a] ?? [], start));
    const next = nextPosition(prompt);
    given.forEach((response, k) => {
      if (response.length === 0) throw new RangeError('a response without tokens cannot be scored');
      const at = start + prefix + k * tokens;
      response.forEach((id, t) => {
        predictors.push(t === 0 ? start + prompt.inputIds.length - 1 : at + t - 1);
        targets.push(id);
        if (t === response.length - 1) return;
        ids[at + t] = id;
        for (const axis of positions) axis[at + t] = next + t;
      });
    });
  });
  const mask = responseMask(lengths, prefix, tokens);
  return {
    layout: { prefix, responses, tokens },
    batch: items.length,
    ids,
    positions,
    imagePlaces,
    predictors,
    targets,
    mask,
  };
}
