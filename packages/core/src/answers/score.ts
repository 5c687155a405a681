/** Log-probabilities of a response. */
import { noGrad, scope } from '@visurf/torch';
import { UserError } from '../errors.ts';
import type { Policy } from '../policy.ts';
import type { PromptInput } from '../prompt/messages.ts';
import { requireProbabilities } from '../rollout/sampler.ts';

export interface Score {
  readonly tokens: readonly number[];
  /** Natural logarithms, temperature 1, full vocabulary. */
  readonly logProbs: readonly number[];
  readonly total: number;
}

/** Teacher forcing of a response as it is: nothing is appended, special tokens in a text are text. */
export async function scoreResponse(
  policy: Policy,
  input: PromptInput,
  response: { readonly text: string } | { readonly ids: readonly number[] },
): Promise<Score> {
  const prompt = await policy.encoder.encode(input);
  const tokens = 'ids' in response ? response.ids : policy.encoder.encodeText(response.text);
  const { vocabularySize } = policy.model.config.text;
  const unknown = tokens.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
  if (unknown !== undefined) throw new UserError(`${unknown} is no token of this model (0 to ${vocabularySize - 1})`);
  if (tokens.length === 0) throw new UserError('the response is empty', { remedy: 'give at least one token to score' });
  const values = scope(() =>
    noGrad(() => {
      const { hidden, targets } = policy.model.hidden([{ prompt, responses: [tokens] }]);
      return policy.model.score(hidden, targets).logProbs;
    }),
  );
  requireProbabilities(values);
  const logProbs = Array.from(values);
  return { tokens, logProbs, total: logProbs.reduce((a, b) => a + b, 0) };
}
