/** Answers of a server, looked at before they are used: what is not as it must be is never trained on. */
import type { z } from 'zod';

import { UserError } from '../errors.ts';
import { ServerFault } from './http.ts';
import type { Asked, Said } from './protocol.ts';

/** @throws ServerFault where the answer has another form */
export function checked<Schema extends z.ZodType>(schema: Schema, said: unknown): z.output<Schema> {
  const { success, data, error } = schema.safeParse(said);
  if (success) return data;
  const { path = [], message = '' } = error.issues[0] ?? {};
  throw new ServerFault('wrong', `an answer of another form: ${path.join('.')}: ${message}`);
}

/** Log-probabilities above 0 by rounding. */
const slack = 1e-3;
/** Below it no sampled token is: servers write a number of their own where there is none. */
const impossible = -1000;

/** @throws ServerFault where a response is none that could have been sampled */
export function requireResponses({ responses }: Said, asked: Asked): void {
  const wrong = (what: string): never => {
    throw new ServerFault('wrong', what);
  };
  const { group, maxNewTokens, vocabulary, stopIds, forbiddenIds, sampling } = asked;
  const forbidden = new Set(sampling.temperature === 0 ? [] : forbiddenIds);
  const stops = new Set(stopIds);
  if (responses.length !== group) wrong(`${responses.length} responses, asked for ${group}`);
  for (const { tokens, logProbs, stop } of responses) {
    const [count, last] = [tokens.length, tokens.at(-1)];
    if (last === undefined) return wrong('a response without tokens');
    if (count > maxNewTokens) wrong(`a response of ${count} tokens, asked for ${maxNewTokens} at most`);
    if (logProbs.length !== count) wrong(`${logProbs.length} log-probabilities of ${count} tokens`);
    const strange = tokens.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary || forbidden.has(id));
    if (strange !== undefined) wrong(`token ${strange}, which cannot be said`);
    const value = logProbs.find((each) => !(each <= slack && each > impossible));
    if (value !== undefined) wrong(`a log-probability of ${value}`);
    if (tokens.slice(0, -1).some((id) => stops.has(id))) wrong('a response that goes on after its stop token');
    if (stops.has(last) !== (stop === 'eos')) {
      wrong(
        stop === 'eos' ? `a response that stopped at token ${last}` : 'a stop token at the end of what was cut off',
      );
    }
    if (stop === 'length' && count < maxNewTokens) {
      wrong(`a response cut off after ${count} of ${maxNewTokens} tokens: the server's longest sequence is too short`);
    }
  }
}

/**
 * The prompt as the server had it must be ours: image placeholders that were written out twice, another chat template or
 * images of another size would go unseen otherwise.
 * @throws UserError
 */
export function requirePrompt({ promptIds, promptTokens }: Said, { prompt }: Asked, url: string): void {
  const ours = prompt.inputIds;
  const at = promptIds?.findIndex((id, i) => !Number.isNaN(id) && id !== ours[i]) ?? -1;
  if (promptTokens === ours.length && at < 0) return;
  const found =
    promptTokens === ours.length
      ? `token ${at} of ${ours.length} is ${promptIds?.[at]} there and ${ours[at]} here`
      : `${promptTokens} tokens there and ${ours.length} here`;
  throw new UserError(`the server has another prompt than visurf: ${found}`, {
    where: url,
    remedy:
      'It must serve the same checkpoint, with its chat template and its image settings (of images that are scaled ' +
      "otherwise: vLLM's --mm-processor-kwargs), and text of samples must hold no control tokens.",
  });
}
