/** Log-probabilities of tokens in OpenAI's form. */

interface Told {
  readonly token: number;
  readonly logProb: number;
  readonly others: readonly (readonly [token: number, logProb: number])[];
}

interface Likely {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

export interface TokenLogprob extends Likely {
  readonly top_logprobs: readonly Likely[];
}

/** Of tokens that no sampling reaches; JSON has no infinity. */
const LEAST = -9999;

/** @param spell the bytes of tokens, a character each */
export async function logprobsOf(
  told: readonly Told[],
  spell: (tokens: readonly number[]) => Promise<readonly string[]>,
): Promise<TokenLogprob[]> {
  const ids = [...new Set(told.flatMap(({ token, others }) => [token, ...others.map(([other]) => other)]))];
  const spelled = await spell(ids);
  const bytes = new Map(ids.map((id, i) => [id, Buffer.from(spelled[i]!, 'latin1')]));
  const likely = (token: number, logprob: number): Likely => ({
    ...{ token: bytes.get(token)!.toString('utf8'), logprob: Math.max(LEAST, logprob) },
    bytes: [...bytes.get(token)!],
  });
  return told.map(({ token, logProb, others }) => ({
    ...likely(token, logProb),
    top_logprobs: others.map(([other, value]) => likely(other, value)),
  }));
}
