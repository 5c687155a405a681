/**
 * `config.json` in any of its layouts: flat (as on the hub), nested under `text_config` (4.5x), or with `rope_parameters`
 * (5.x). What a file leaves out has the reference's defaults: older versions saved only what differed from them.
 */
import { z } from 'zod';

import { UserError } from '../errors.ts';
import type { ModelShape } from './config.ts';
import { readText, type TextRules } from './text-config.ts';
import type { VisionConfig } from './vision-config.ts';

/**
 * Reads files of a decoder by such rules, whose tower `vision` knows.
 * @param tokens ids of the placeholders where the file says none
 */
export function readerOf(
  vision: z.ZodType<VisionConfig>,
  rules: TextRules,
  tokens: { readonly image: number; readonly video: number },
): (file: unknown) => ModelShape {
  const id = z.int().nonnegative();
  const rootSchema = z.looseObject({
    image_token_id: id.default(tokens.image),
    video_token_id: id.default(tokens.video),
    tie_word_embeddings: z.boolean().nullish(),
    text_config: z.looseObject({}).nullish(),
    vision_config: z.looseObject({}).nullish(),
  });
  return (file) => {
    const root = rootSchema.parse(file);
    const tower = vision.parse(root.vision_config ?? {});
    const text = readText(root, rules);
    if (tower.outHiddenSize !== text.hiddenSize) {
      throw new UserError(
        `the vision tower feeds ${tower.outHiddenSize} channels into a decoder of ${text.hiddenSize} channels`,
      );
    }
    return { vision: tower, text, imageTokenId: root.image_token_id, videoTokenId: root.video_token_id };
  };
}
