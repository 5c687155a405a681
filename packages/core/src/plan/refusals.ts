/** What a configuration asks of a model that it cannot do: known before any weights are read, by a plan as by a training. */
import { z } from 'zod';

import type { Config } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { chosenModules, differences, type LoraSettings } from '../model/lora.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';
import { requireJson } from '../prompt/files.ts';

const length = z.int().positive().optional().catch(undefined);
const positions = z
  .object({ max_position_embeddings: length, text_config: z.object({ max_position_embeddings: length }).optional() })
  .catch({});

/**
 * Positions of a model; undefined where its config does not say.
 * @throws UserError for what is no directory of a model
 */
export function positionsOf(base: string): number | undefined {
  const read = requireJson(base, 'config.json', positions);
  return read.text_config?.max_position_embeddings ?? read.max_position_embeddings;
}

/** @throws UserError where answers may be longer than the model has positions for */
export function requirePositions({ rollout, eval: { maxNewTokens = 0 } }: Config, base: string): void {
  const most = positionsOf(base);
  const longest = Math.max(maxNewTokens, rollout.maxNewTokens);
  if (most === undefined || longest < most) return;
  throw new UserError(`answers of ${longest} tokens are longer than the ${most} positions that the model has`, {
    where: maxNewTokens > rollout.maxNewTokens ? 'eval.maxNewTokens' : 'rollout.maxNewTokens',
    remedy: `Lower it: a prompt with its answer must stay below ${most} tokens (max_position_embeddings).`,
  });
}

/**
 * @param present settings of the adapter that training goes on from, and the modules that it has
 * @param wanted those of the configuration; unset: as the adapter has them
 * @throws UserError where they differ
 */
export function requireSameAdapter(
  model: VisionLanguageModel,
  present: LoraSettings & { readonly modules: readonly string[] },
  wanted: LoraSettings | undefined,
): void {
  const changed = wanted ? differences(present, { ...wanted, modules: chosenModules(model, wanted) }) : [];
  if (changed.length === 0) return;
  throw new UserError(`the adapter that training goes on from has another ${changed.join(', ')}`, {
    where: 'train.lora',
    remedy: 'Leave train.lora out, or merge the adapter into its base first (visurf merge) and train a new one.',
  });
}
