/** `config.json` of Qwen3-VL: `text_config` and `vision_config`, with rotary settings in their old form or their new one. */
import { z } from 'zod';

import { deepVisionFields, readDeepVision } from '../../model/deep-vision-config.ts';
import type { TextRules } from '../../model/text-config.ts';

export const textRules: TextRules = {
  ...{ hiddenSize: 4096, layers: 32, heads: 32, keyValueHeads: 32, intermediateSize: 22016, vocabularySize: 151936 },
  ...{ headSize: 128, rmsNormEps: 1e-6, length: 128000, ropeTheta: undefined, mropeSection: [24, 20, 20] },
  ...{ mropeInterleaved: true, attentionBias: 'stated', queryKeyNorm: true },
};

export const visionSchema = z
  .looseObject({ ...deepVisionFields, deepstack_visual_indexes: z.array(z.int()).default([8, 16, 24]) })
  .transform((file) => readDeepVision(file, file.deepstack_visual_indexes));
