/** What the command line asks of a checkpoint: what it sees, what it gives a response, what it says. */
import { PolicyThread } from './answers/policy-thread.ts';
import { scoreResponse, type Score } from './answers/score.ts';
import { invariant } from './errors.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import type { PromptInput } from './prompt/messages.ts';
import { TextStream } from './prompt/stream.ts';
import { promptSettings } from './question/settings.ts';
import { locateModel, type ModelSource, type Policy } from './policy.ts';
import { greedy, type Sampling } from './rollout/sampler.ts';
import type { StopReason } from './types.ts';

export interface Inspection {
  /** The rendered chat template, one placeholder per image. */
  readonly rendered: string;
  readonly inputIds: readonly number[];
  /** Empty where images are not shown as patches of the whole picture. */
  readonly imageGridThw: readonly (readonly number[])[];
  /** Absent without videos. */
  readonly videoGridThw?: readonly (readonly number[])[];
  readonly positionIds: readonly (readonly number[])[];
  /** Null without images. */
  readonly pixelValues: {
    readonly shape: readonly number[];
    readonly mean: number;
    readonly std: number;
    readonly min: number;
    readonly max: number;
  } | null;
}

/** What a model sees of a prompt; needs no weights. */
export async function inspect(
  model: string,
  input: PromptInput,
  options: ModelSource & { readonly think?: boolean | undefined } = {},
): Promise<Inspection> {
  const { base, adapter } = await locateModel(model, { ...options, weights: false });
  const encoder = PromptEncoder.load(base, promptSettings([adapter, base], { think: options.think }));
  const prompt = await encoder.encode(input);
  const { rendered, inputIds, videoGridThw, positionIds, pixelValues, pixelShape } = prompt;
  const imageGridThw = pixelShape ? [] : prompt.imageGridThw;
  const patches = [...imageGridThw, ...(videoGridThw ?? [])].reduce((sum, [t, h, w]) => sum + t * h * w, 0);
  return {
    rendered,
    inputIds,
    imageGridThw,
    ...(videoGridThw && { videoGridThw }),
    positionIds,
    pixelValues: pixelValues
      ? { shape: pixelShape ?? [patches, pixelValues.length / patches], ...moments(pixelValues) }
      : null,
  };
}

/** Mean, standard deviation (divisor n - 1, as PyTorch's `std`), smallest and largest value. */
function moments(values: Float32Array): { mean: number; std: number; min: number; max: number } {
  let [sum, min, max] = [0, Infinity, -Infinity];
  for (const each of values) {
    sum += each;
    min = Math.min(min, each);
    max = Math.max(max, each);
  }
  const mean = sum / values.length;
  let squares = 0;
  for (const each of values) squares += (each - mean) ** 2;
  return { mean, std: Math.sqrt(squares / (values.length - 1)), min, max };
}

/** Teacher forcing of a response as it is: nothing is appended, special tokens in a text are text. */
export const score = (
  policy: Policy | PolicyThread,
  input: PromptInput,
  response: { readonly text: string } | { readonly ids: readonly number[] },
): Promise<Score> =>
  policy instanceof PolicyThread ? policy.score(input, response) : scoreResponse(policy, input, response);

export interface Generation {
  readonly text: string;
  /** The stop token included. */
  readonly tokens: readonly number[];
  readonly logProbs: readonly number[];
  readonly stop: StopReason;
}

/** How one prompt is answered; what is left out is greedy, of at most 512 tokens. */
export interface AnswerOptions extends Partial<Sampling> {
  readonly maxNewTokens?: number;
  /** Seed of the noise of sampling. */
  readonly seed?: number;
  /** Ends the answer with the signal's reason as the error; what was said until then `onText` has seen. */
  readonly signal?: AbortSignal;
}

/**
 * Answers one prompt.
 * @param onText sees the text as it grows, in whole characters; its pieces together are the text of the result
 * @throws UserError for an image that cannot be used, or a model whose probabilities are NaN
 * @example
 * using policy = await loadPolicy('runs/cars/best');
 * const { text } = await generate(policy, { problem: 'find the red car', images: ['street.jpg'] }, { maxNewTokens: 64 });
 */
export async function generate(
  policy: Policy | PolicyThread,
  input: PromptInput,
  options: AnswerOptions = {},
  onText?: (piece: string) => void,
): Promise<Generation> {
  if (policy instanceof PolicyThread) return await generateThere(policy, input, options, onText);
  const { encoder } = policy;
  const prompt = await encoder.encode(input);
  const stream = new TextStream((tokens) => encoder.decode(tokens));
  const say = (piece: string): void => (piece === '' ? undefined : onText?.(piece));
  const onToken = (token: number): void => {
    if (!encoder.tokenizer.eosIds.includes(token)) say(stream.push(token));
  };
  const [[rollout] = []] = await policy.sample([prompt], {
    ...{ ...greedy, maxNewTokens: 512, seed: 0, ...options },
    ...{ group: 1, step: 0, promptIds: [0], onToken },
  });
  invariant(rollout, 'one prompt has one rollout');
  say(stream.end());
  const { text, tokens, logProbs, stop } = rollout;
  return { text: text.slice(encoder.opening.length), tokens, logProbs, stop };
}

async function generateThere(
  policy: PolicyThread,
  input: PromptInput,
  options: AnswerOptions,
  onText?: (piece: string) => void,
): Promise<Generation> {
  const { answers } = await policy.ask(input, options, (_, { text }) => (text === '' ? undefined : onText?.(text)));
  const [said] = answers;
  invariant(said && said.stop !== 'stop', 'no stop strings were given');
  const { text, tokens: told, stop } = said;
  return { text, tokens: told.map(({ token }) => token), logProbs: told.map(({ logProb }) => logProb), stop };
}
