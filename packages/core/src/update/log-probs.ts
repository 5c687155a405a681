/** Log-probabilities of responses as the policy has them, without a gradient. */
import { noGrad, scope } from '@visurf/torch';

import { alone, type Processes } from '../distributed/processes.ts';
import type { PromptWithResponses } from '../model/pack.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';
import type { PlacedGroup } from '../rollout/dynamic.ts';
import type { Prompt, Response } from '../types.ts';

/** Of prompts with all their responses. */
export function logProbs(model: VisionLanguageModel, items: readonly PromptWithResponses[]): Float64Array {
  return scope(() =>
    noGrad(() => {
      const { hidden, targets } = model.hidden(items);
      return model.score(hidden, targets).logProbs;
    }),
  );
}

/** log pi of each response to one prompt. */
export function responseLogProbs(model: VisionLanguageModel, prompt: Prompt, responses: readonly Response[]): number[] {
  const flat = Array.from(logProbs(model, [{ prompt, responses: responses.map(({ tokens }) => tokens) }]));
  return responses.map(({ tokens }) => flat.splice(0, tokens.length).reduce((a, b) => a + b, 0));
}

/**
 * Mean log pi of labels that control switched off, NaN without any: of some, as many as are in memory at once, so that
 * watching costs little. Of several processes the first labels of the whole batch are taken.
 */
export async function inactiveLogProb(
  model: VisionLanguageModel,
  groups: readonly PlacedGroup[],
  atOnce: number,
  processes: Processes = alone,
): Promise<number> {
  const inactive = groups.flatMap(({ place, group: { prompt, label } }) =>
    label?.place === 'member' && !label.active ? [{ place, prompt, responses: [label.response.tokens] }] : [],
  );
  const places = (await processes.gather(inactive.map(({ place }) => place))).flat().sort((a, b) => a - b);
  const watched = inactive.filter(({ place }) => places.indexOf(place) < atOnce);
  const own = watched.length === 0 ? 0 : logProbs(model, watched).reduce((a, b) => a + b, 0);
  const [sum, count] = await processes.sum([own, watched.length]);
  return count === 0 ? NaN : sum! / count!;
}
